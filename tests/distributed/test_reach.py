"""A rank cut off from the store of its group ends by itself: no answer is waited for beyond the limit."""

import threading
import time
from collections.abc import Callable
from typing import Any, cast

import pytest
from torch.distributed import DistError, HashStore, Store, TCPStore  # type: ignore[attr-defined]  # not in stubs

from streammeta.distributed.reach import Reach
from streammeta.distributed.torch_group import TorchGroup
from streammeta.errors import GroupLost
from tests.contracts.group import patient
from tests.distributed.relay import relay

CALLS: dict[str, Callable[[Reach], Any]] = {
    "set": lambda reach: reach.set("a", "1"),
    "add": lambda reach: reach.add("a", 1),
    "check": lambda reach: reach.check(["a"]),
    "multi_get": lambda reach: reach.multi_get(["a"]),
    "delete_key": lambda reach: reach.delete_key("a"),
}
LIMIT_SECONDS = 0.2


class Silent:
    """A store that does not answer until the test is over."""

    def __init__(self) -> None:
        self.over, self.asked = threading.Event(), 0

    def __getattr__(self, _name: str) -> Callable[..., None]:
        def wait(*_: Any) -> None:
            self.asked += 1
            self.over.wait(60)

        return wait


def test_it_answers_as_the_store_does() -> None:
    """What was set is got, counts add up, a key that is gone is not there."""
    reach = Reach(HashStore(), 60)
    reach.set("word", b"of a rank")
    assert reach.multi_get(["word"]) == [b"of a rank"]
    assert (reach.add("beat", 2), reach.add("beat", 3)) == (2, 5)
    assert reach.check(["word", "beat"])
    reach.delete_key("word")
    assert not reach.check(["word", "beat"])
    assert not reach.lost


@pytest.mark.parametrize("name", CALLS)
def test_an_answer_that_does_not_come_is_given_up(name: str) -> None:
    """After the limit; whatever is asked next is refused at once, and never reaches the store."""
    silent = Silent()
    reach = Reach(cast("Store", silent), LIMIT_SECONDS)
    began = time.monotonic()
    with pytest.raises(DistError, match="did not answer for"):
        CALLS[name](reach)
    assert LIMIT_SECONDS <= time.monotonic() - began < 30
    assert reach.lost
    for call in CALLS.values():
        with pytest.raises(DistError, match="out of reach"):
            call(reach)
    silent.over.set()
    assert silent.asked == 1


def test_what_the_store_refuses_is_no_loss() -> None:
    """Its own error comes out where it was asked for, and the store is asked on."""
    reach = Reach(HashStore(), 60)
    reach.set("word", "no number")
    with pytest.raises((RuntimeError, ValueError)):
        reach.add("word", 1)
    assert not reach.lost
    assert reach.add("beat", 1) == 1


def test_a_rank_that_is_cut_off_ends_by_itself() -> None:
    """The network swallows all between it and the store: the group is lost at the limit, `close` is soon."""
    server = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    with relay(server.port) as way:
        store = TCPStore("127.0.0.1", way.port, is_master=False)
        group = TorchGroup(store, 0, 1, timeout_seconds=5.0, missing=patient)
        assert group.gather("round/1", b"word", patient) == [b"word"]
        way.swallow()
        began = time.monotonic()
        with pytest.raises(GroupLost, match=r"rank 0 lost the group: .*did not answer for 5 s"):
            group.gather("round/2", b"word", patient)
        group.close()
        assert time.monotonic() - began < 45
