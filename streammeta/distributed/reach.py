"""A store that is asked from a thread of its own: one that cannot be reached is given up, never waited for.

torch's client waits in the kernel for an answer. Where the network swallows it, that is for a quarter of an
hour, in which no signal is served.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from torch.distributed import DistError, Store  # type: ignore[attr-defined]  # its stubs do not export it

Said = TypeVar("Said")


class Reach:
    """What a group uses of a store. Once an answer did not come in time, none is asked for any more."""

    def __init__(self, store: Store, limit_seconds: float) -> None:
        """`limit_seconds`: how long an answer may take."""
        self._store: Any = store  # its stubs say str where bytes are taken
        self._limit_seconds = limit_seconds
        self._calls = SimpleQueue[tuple[Future[Any], Callable[[], Any]]]()
        self.lost = False
        Thread(target=self._run, name="reach", daemon=True).start()

    def set(self, key: str, value: str | bytes) -> None:
        """As torch's."""
        self._ask(lambda: self._store.set(key, value))

    def add(self, key: str, amount: int) -> int:
        """As torch's."""
        return self._ask(lambda: int(self._store.add(key, amount)))

    def check(self, keys: Sequence[str]) -> bool:
        """As torch's."""
        return self._ask(lambda: bool(self._store.check([*keys])))

    def multi_get(self, keys: Sequence[str]) -> list[bytes]:
        """As torch's."""
        return self._ask(lambda: [*self._store.multi_get([*keys])])

    def delete_key(self, key: str) -> None:
        """As torch's."""
        self._ask(lambda: self._store.delete_key(key))

    def _ask(self, call: Callable[[], Said]) -> Said:
        """What it answers.

        Raises:
            DistError: nothing, within the limit; or torch's own.
        """
        if self.lost:
            raise DistError("its store is out of reach")
        answer = Future[Said]()
        self._calls.put((answer, call))
        try:
            return answer.result(self._limit_seconds)
        except TimeoutError:
            self.lost = True
            raise DistError(f"its store did not answer for {self._limit_seconds:.0f} s") from None

    def _run(self) -> None:
        while True:
            answer, call = self._calls.get()
            try:
                answer.set_result(call())
            except BaseException as error:  # noqa: BLE001 (raised again where the answer is waited for)
                answer.set_exception(error)
