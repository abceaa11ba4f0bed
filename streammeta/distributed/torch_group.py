"""A group over `torch.distributed`: its store for words, gloo or nccl for numbers."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]  # its stubs do not export them
from torch.distributed.rendezvous import rendezvous

from streammeta.distributed.beats import Beats, Watch
from streammeta.distributed.group import Missing
from streammeta.distributed.reach import Reach
from streammeta.errors import GroupLost

_LATER_SECONDS: Final = 10.0
"""How much later than a rank is given up torch gives up an exchange."""
_SHORTEST_SECONDS: Final = 0.0002
_LONGEST_SECONDS: Final = 0.02
"""Pauses of a wait, at first and when it has taken long; then whoever waits is asked whether to go on."""

MakeProcesses = Callable[[Store, int, int, timedelta], Any]
"""(store, rank, world, timeout) -> a process group of torch."""


class TorchGroup:
    """`Group` of processes that `torchrun` started. Not for several threads."""

    def __init__(
        self,
        store: Store,
        rank: int,
        world: int,
        *,
        timeout_seconds: float,
        missing: Missing,
        healthy: Callable[[], bool] = lambda: True,
        make: MakeProcesses | None = None,
        device: torch.device | None = None,
    ) -> None:
        """Come together with the others.

        Args:
            store: That of the rendezvous.
            rank: This one.
            world: How many they are.
            timeout_seconds: As `distributed.timeout_seconds`.
            missing: As for `gather`, while the others are waited for.
            healthy: Whether this process makes progress; without, it gives no signs of life.
            make: Makes the process group; gloo by default.
            device: Where numbers are summed.

        Raises:
            GroupLost: the others did not come.
        """
        self.rank, self.world = rank, world
        self._store = Reach(PrefixStore("words", store), timeout_seconds)
        self._limit_seconds, self._device = timeout_seconds, device or torch.device("cpu")
        self._last = ""
        own: Any = store  # its stubs lack `clone`
        self._beats = Beats(PrefixStore("words", own.clone()), rank, healthy)
        self._whole = False
        try:
            self.gather("here", b"1", missing)
            with self._told():
                timeout = timedelta(seconds=timeout_seconds + _LATER_SECONDS)
                self._processes = (make or _gloo)(PrefixStore("numbers", store), rank, world, timeout)
            self._whole = True
        except BaseException:
            self._beats.close(left=False)
            raise

    def gather(self, label: str, word: bytes, missing: Missing) -> list[bytes]:
        """As `Group.gather`."""
        keys = [f"{label}/{rank}" for rank in range(self.world)]
        with self._told():
            self._store.set(keys[self.rank], word)
            self._store.set(label, "1")
            self._await(keys, label, missing)
            words = self._store.multi_get(keys)
            # All have said this word, so all have heard the one before.
            for old in (f"{self._last}/{self.rank}", self._last) if self._last else ():
                self._store.delete_key(old)
        self._last = label
        return words

    def begun(self, label: str) -> bool:
        """As `Group.begun`."""
        with self._told():
            return self._store.check([label])

    def mean(self, numbers: Tensor, share: float, missing: Missing) -> Tensor:
        """As `Group.mean`."""
        part = (numbers * share).to(self._device)
        self._done(lambda: self._processes.allreduce([part]), missing)
        return part.to(numbers.device)

    def spread(self, content: bytes, root: int, missing: Missing) -> bytes:
        """As `Group.spread`."""
        size = torch.tensor([len(content)], device=self._device)
        self._done(lambda: self._processes.broadcast(size, root), missing)
        if not size:
            return b""
        given = torch.frombuffer(bytearray(content), dtype=torch.uint8) if self.rank == root else None
        whole = torch.empty(int(size), dtype=torch.uint8) if given is None else given
        whole = whole.to(self._device)
        self._done(lambda: self._processes.broadcast(whole, root), missing)
        return whole.cpu().numpy().tobytes()

    def close(self) -> None:
        """As `Group.close`."""
        self._beats.close(left=self._whole)

    def _await(self, keys: list[str], label: str, missing: Missing) -> None:
        """Ask again and again, the less often the longer it takes: the store's own wait fills the log."""
        watch = Watch(self._store, self._limit_seconds, f"rank {self.rank} ({label})")
        pause_seconds = _SHORTEST_SECONDS
        while not self._store.check(keys):
            time.sleep(pause_seconds)
            pause_seconds = min(1.2 * pause_seconds, _LONGEST_SECONDS)
            if pause_seconds == _LONGEST_SECONDS:
                left = [rank for rank, key in enumerate(keys) if not self._store.check([key])]
                missing(left)
                watch.look(left)

    def _done(self, begin: Callable[[], Any], missing: Missing) -> None:
        """Wait for an exchange; torch's own timeout, which names no rank, comes later than ours."""
        others = [rank for rank in range(self.world) if rank != self.rank]
        watch = Watch(self._store, self._limit_seconds, f"rank {self.rank} (an exchange)")
        with self._told():
            work, pause_seconds = begin(), _SHORTEST_SECONDS
            while not work.is_completed():
                time.sleep(pause_seconds)
                pause_seconds = min(2 * pause_seconds, _LONGEST_SECONDS)
                if pause_seconds == _LONGEST_SECONDS:
                    missing([])
                    watch.look(others)
            work.wait()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Whatever torch says when somebody is gone means that the group is lost."""
        try:
            yield
        except RuntimeError as error:
            self._whole = False
            raise GroupLost(
                f"rank {self.rank} lost the group: {str(error).splitlines()[0]}; another rank died, or the "
                "network parted them; the group goes on from the last round when it is started again"
            ) from error


def join(
    timeout_seconds: float, device: torch.device, missing: Missing, healthy: Callable[[], bool]
) -> TorchGroup:
    """The group that the environment names.

    Raises:
        GroupLost: its store cannot be reached, or the others did not come.
    """
    try:
        store, rank, world = next(rendezvous("env://", timeout=timedelta(seconds=timeout_seconds)))
    except (RuntimeError, ValueError) as error:
        raise GroupLost(f"no rendezvous at MASTER_ADDR:MASTER_PORT: {error}") from error
    nccl = device.type == "cuda" and _one_gpu_each()
    life = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # torchrun's store outlives its workers
    return TorchGroup(
        PrefixStore(f"life-{life}", store),
        rank,
        world,
        timeout_seconds=timeout_seconds,
        missing=missing,
        healthy=healthy,
        make=_nccl if nccl else _gloo,
        device=device if nccl else torch.device("cpu"),
    )


def _one_gpu_each() -> bool:
    """Nccl refuses ranks that share a GPU."""
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return dist.is_nccl_available() and local <= torch.cuda.device_count()


def _gloo(store: Store, rank: int, world: int, timeout: timedelta) -> Any:
    return dist.ProcessGroupGloo(store, rank, world, timeout)


def _nccl(store: Store, rank: int, world: int, timeout: timedelta) -> Any:
    options = dist.ProcessGroupNCCL.Options()
    options._timeout = timeout
    return dist.ProcessGroupNCCL(store, rank, world, options)
