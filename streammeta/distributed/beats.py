"""Signs of life between ranks: each says in a store, every second, that it lives; whoever waits looks."""

from collections.abc import Callable, Sequence
from threading import Event, Thread
from time import monotonic

from torch.distributed import DistError, Store  # type: ignore[attr-defined]  # its stubs do not export it

from streammeta.distributed.reach import Reach
from streammeta.errors import GroupLost

BEAT_SECONDS = 1.0
LEFT_SECONDS = 5.0
"""How long a rank that has left is still waited for: this one is perhaps about to be told to stop, too."""


class Beats:
    """A thread that gives signs of life while the process is healthy: a frozen or stuck one gives none."""

    def __init__(self, store: Store, rank: int, healthy: Callable[[], bool]) -> None:
        self._store, self._rank, self._healthy = store, rank, healthy
        self._over = Event()
        self._thread = Thread(target=self._run, name="beats", daemon=True)
        self._thread.start()

    def close(self, *, left: bool) -> None:
        """Give no more; `left`: say so."""
        self._over.set()
        self._thread.join(2 * BEAT_SECONDS)
        if left and not self._thread.is_alive():  # else the store is out of reach
            try:
                self._store.set(f"left/{self._rank}", "1")
            except DistError:
                return  # there is nobody to tell

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                if self._healthy():
                    self._store.add(f"beat/{self._rank}", 1)
                self._over.wait(BEAT_SECONDS)
        except DistError:
            return  # whoever waits for the group meets the same error


class Watch:
    """Looks for signs of life of other ranks during one wait."""

    def __init__(self, store: Reach, limit_seconds: float, what: str) -> None:
        self._store, self._limit_seconds, self._what = store, limit_seconds, what
        self._began = monotonic()
        self._seen: dict[int, tuple[int, float]] = {}

    def look(self, ranks: Sequence[int]) -> None:
        """See that these ranks live.

        Raises:
            GroupLost: one gave no sign for the limit, or has left.
        """
        now = monotonic()
        for rank in ranks:
            beats = self._store.add(f"beat/{rank}", 0)
            if rank not in self._seen or self._seen[rank][0] != beats:
                self._seen[rank] = beats, now
            silent_seconds = now - self._seen[rank][1]
            if silent_seconds >= self._limit_seconds:
                raise GroupLost(
                    f"rank {rank} gave no sign of life for {silent_seconds:.0f} s while {self._what} waited "
                    "for it; its log says more, if it died; the group goes on from the last round when it is "
                    "started again (torchrun --max-restarts)"
                )
            if now - self._began >= LEFT_SECONDS and self._store.check([f"left/{rank}"]):
                raise GroupLost(f"rank {rank} was told to stop, and {self._what} cannot go on without it")
