"""Groups: the double of these tests and that of torch keep one contract; torch's tells who is lost."""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # its stubs do not export it

from streammeta.distributed.group import Group
from streammeta.distributed.torch_group import TorchGroup
from streammeta.errors import GroupLost
from tests.contracts.group import GroupContract, Meet, in_threads, patient
from tests.distributed.meeting import Meeting


class TestMeeting(GroupContract):
    """The double."""

    @pytest.fixture
    def meet(self) -> Meet:
        """Threads that meet."""

        def run(world: int, do: Callable[[Group], Any]) -> list[Any]:
            meeting = Meeting(world)
            return in_threads([partial(meeting.member, rank) for rank in range(world)], do)

        return run


def torch_groups(world: int, timeout_seconds: float = 30.0) -> list[Callable[..., TorchGroup]]:
    """Ranks of torch over a store of its own, each to be made in its thread."""
    server = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)

    def make(rank: int, healthy: Callable[[], bool] = lambda: True) -> TorchGroup:
        store = TCPStore("127.0.0.1", server.port, is_master=False)
        return TorchGroup(
            store, rank, world, timeout_seconds=timeout_seconds, missing=patient, healthy=healthy
        )

    return [partial(make, rank) for rank in range(world)]


class TestTorch(GroupContract):
    """gloo, and the store of a rendezvous."""

    @pytest.fixture
    def meet(self) -> Meet:
        """Threads with a process group each."""
        return lambda world, do: in_threads(torch_groups(world), do)


def test_a_rank_without_signs_of_life_is_given_up() -> None:
    """One that is there and makes no progress: the other names it, after the limit and not long after."""
    first, second = torch_groups(2, timeout_seconds=2.0)
    healthy, told = [True], threading.Event()

    def wait(group: Group) -> float:
        began = time.monotonic()
        if group.rank == 1:
            healthy[0] = False
            told.wait(60)  # it hangs
        else:
            with pytest.raises(GroupLost, match="rank 1 gave no sign of life for"):
                group.gather("round/1", b"", patient)
            told.set()
        return time.monotonic() - began

    waited, _ = in_threads([first, lambda: second(healthy=lambda: healthy[0])], wait)
    assert 1.5 < waited < 30.0


def test_a_rank_that_left_is_not_waited_for_to_the_end() -> None:
    """One that was told to stop says so: seconds later the other ends too, long before the limit."""

    def wait(group: Group) -> float:
        began = time.monotonic()
        if group.rank == 0:
            with pytest.raises(GroupLost, match="rank 1 was told to stop"):
                group.gather("round/1", b"", patient)
        return time.monotonic() - began

    waited, _ = in_threads(torch_groups(2), wait)
    assert waited < 15.0


def test_a_lost_store_is_a_lost_group() -> None:
    """Who kept the store is gone: told as the group's loss, not as torch says it."""
    server = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    store = TCPStore("127.0.0.1", server.port, is_master=False)
    group = TorchGroup(store, 0, 1, timeout_seconds=5.0, missing=patient)
    del server
    with pytest.raises(GroupLost, match="rank 0 lost the group"):
        group.gather("round/1", b"", patient)
    group.close()
