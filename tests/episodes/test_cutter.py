"""Episodes from single examples: every example once, in order, and nothing waits for ever."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from streammeta.episodes.cutter import Bounds, Cutter, Model, Portion, Sizes, cut
from streammeta.errors import BadEvent, Reason, StateError
from streammeta.events import Array, Batch, Examples, HalfExamples, Part
from streammeta.state.buffers import Buffer, Half, concatenated, pack_buffer, unpack_buffer
from streammeta.state.memories import Memories
from streammeta.state.progress import Tally
from streammeta.state.store import TaskRow, TaskStats, Waiting
from tests.learning import nothing_stored

EMPTY = torch.zeros(0)
SMALL = Sizes(2, 1, 1)


def numbered(first: int, count: int) -> Batch[Array]:
    """Examples that are told apart by their numbers."""
    numbers = np.arange(first, first + count, dtype=np.float32)[:, None]
    return Batch(numbers, numbers)


@given(
    support=st.integers(1, 6),
    query=st.integers(1, 6),
    more=st.integers(0, 6),
    pieces=st.lists(st.integers(1, 30), max_size=30),
)
def test_however_examples_come_the_episodes_are_the_same(
    support: int, query: int, more: int, pieces: list[int]
) -> None:
    """An episode begins every `stride` examples; none is in two query sets, support is older than query."""
    sizes = Sizes(support, query, min(query + more, support + query))
    held, episodes, first = None, [], 0
    for count in pieces:
        held, new = cut(concatenated(held, numbered(first, count)), sizes)
        episodes += new
        first += count
        assert held is None or len(held.x) < support + query
    whole = support + query
    begins = range(0, first - whole + 1, sizes.stride)
    assert [episode.support.x.ravel().tolist() for episode in episodes] == [
        [*range(begin, begin + support)] for begin in begins
    ]
    assert [episode.query.y.ravel().tolist() for episode in episodes] == [
        [*range(begin + support, begin + whole)] for begin in begins
    ]
    queried = Counter(x for episode in episodes for x in episode.query.x.ravel().tolist())
    assert set(queried.values()) <= {1}


def test_what_is_held_keeps_no_large_array_alive() -> None:
    """The rest of a record of many examples has memory of its own."""
    held, _ = cut(numbered(0, 1003), Sizes(2, 2, 2))
    assert held is not None
    assert held.x.base is None
    assert held.x.nbytes < 20


halves = st.builds(Half, st.sampled_from(["x", "y"]), st.just(numbered(3, 2).x), st.integers(1, 2**63))
buffers = st.builds(
    Buffer,
    st.none() | st.builds(numbered, st.integers(0, 9), st.integers(1, 4)),
    st.dictionaries(st.text(), halves, max_size=4),
    st.integers(0, 2**63),
)


@given(buffer=buffers)
def test_a_buffer_survives_its_bytes(buffer: Buffer) -> None:
    """Arrays, dtypes, ids and numbers; an empty buffer is no bytes."""
    packed = pack_buffer(buffer)
    assert bool(packed) != buffer.empty
    if packed:
        assert repr(unpack_buffer(packed)) == repr((buffer, ()))


@pytest.mark.parametrize(
    "damaged", [b"\xc1", b"\x90", b"\x93\x01\x02\x03", b"\x93\x01\x91\x93\x01\x02\x03\x80"]
)
def test_a_damaged_buffer_is_named(damaged: bytes) -> None:
    """Never a traceback."""
    with pytest.raises(StateError, match="buffered examples cannot be read"):
        unpack_buffer(damaged)


class Cutting:
    """A cutter over two tasks, with its memories at hand."""

    def __init__(self, *, tasks: int = 0, halves: int = 10, sizes: Sizes = SMALL) -> None:
        self.memories = Memories(nothing_stored, EMPTY, 100)
        model = Model(lambda x: x, lambda y: y, lambda _: None)
        self.cutter = Cutter(sizes, Bounds(tasks, halves), self.memories, model)
        self.number = 0

    def give(self, count: int = 1, task: str = "a", *, at: int = 0) -> Portion:
        """A record with so many examples, learned from or held as the intake does."""
        return self._settled(Examples(task, numbered(self.number, count), 5), at)

    def half(self, part: Part, name: str = "one", task: str = "a", *, at: int = 0, count: int = 1) -> Portion:
        """A record with one half."""
        return self._settled(HalfExamples(task, name, part, numbered(7, count).x, 5), at)

    def _settled(self, examples: Examples | HalfExamples, at: int) -> Portion:
        self.number = at or self.number + 1
        portion = self.cutter.portion(examples, self.number)
        entry = self.memories.get(portion.task)
        stats = TaskStats(events=entry.stats.events + len(portion.events))
        self.memories.put(portion.task, entry._replace(stats=stats, buffer=portion.after))
        self.cutter.settled()
        return portion

    def ready(self, task: str = "a") -> int:
        """Examples that the task holds."""
        return self.memories.get(task).buffer.ready


class TestExpiry:
    """`expire_after_events`: tasks that never had enough for an episode."""

    def test_a_task_that_comes_back_late_begins_anew(self) -> None:
        """Ten records later the old example is still good, eleven later it is not."""
        world = Cutting(tasks=10)
        world.give(at=1)
        assert world.give(at=11).dropped == Tally()
        assert world.ready() == 2
        assert world.give(at=22).dropped == Tally(expired=1)
        assert world.ready() == 1

    def test_a_task_that_does_not_come_back_is_forgotten(self) -> None:
        """The sweep drops it, once; its row goes."""
        world = Cutting(tasks=10)
        world.give(2, at=1)
        assert [world.cutter.due(number) for number in (9, 10, 19, 20)] == [False, True, False, True]
        assert world.cutter.sweep(11) == Tally()
        assert world.cutter.sweep(20) == Tally(expired=1)
        assert world.cutter.sweep(20) == Tally()
        assert world.memories.dirty().rows() == {"a": None}

    def test_a_task_that_was_learned_from_stays(self) -> None:
        """Its memory costs more than its examples."""
        world = Cutting(tasks=10)
        assert len(world.give(3).events) == 1
        assert world.cutter.sweep(1000) == Tally()
        assert world.give(at=1001).dropped == Tally()
        assert world.ready() == 2

    def test_stored_tasks_are_found(self) -> None:
        """Those that left RAM long ago too; only what is late is read."""
        row = TaskRow(TaskStats(), b"", pack_buffer(Buffer(numbered(0, 1), {}, 5)), Waiting(task=5))
        read: list[str] = []

        def load(tasks: Sequence[str]) -> list[TaskRow | None]:
            read.extend(tasks)
            return [row]

        memories = Memories(load, EMPTY, 100, lambda: [("late", Waiting(5)), ("young", Waiting(95))])
        cutter = Cutter(
            Sizes(2, 1, 1), Bounds(10, 0), memories, Model(lambda x: x, lambda y: y, lambda _: None)
        )
        assert cutter.sweep(100) == Tally(expired=1)
        assert read == ["late"]
        assert memories.dirty().rows() == {"late": None}


class TestLabels:
    """`label_wait_events`: inputs first and labels later, or the other way round."""

    @pytest.mark.parametrize(("first", "later"), [("x", "y"), ("y", "x")])
    def test_two_halves_are_examples(self, first: Part, later: Part) -> None:
        """In either order; they are as new as the later one."""
        world = Cutting()
        assert world.half(first).events == ()
        world.give(2)
        (event,) = world.half(later).events
        assert event.episode.query.x.tolist() == event.episode.query.y.tolist() == [[7.0]]
        assert not world.memories.get("a").buffer.halves

    def test_an_id_belongs_to_its_task(self) -> None:
        """The same id under another key is another example."""
        world = Cutting()
        world.half("x", task="a")
        world.half("y", task="b")
        assert (world.ready("a"), world.ready("b")) == (0, 0)

    def test_a_late_label_finds_nothing(self) -> None:
        """Ten records later it is joined, eleven later the inputs are gone, and counted."""
        for late, dropped, ready in ((11, Tally(), 1), (12, Tally(unmatched=1), 0)):
            world = Cutting()
            world.half("x", at=1)
            assert world.half("y", at=late).dropped == dropped
            assert world.ready() == ready

    def test_what_is_never_matched_is_dropped(self) -> None:
        """The sweep counts each half; a task of which nothing is left is forgotten."""
        world = Cutting()
        world.half("x", "one", at=1)
        world.half("y", "two", at=1)
        assert world.cutter.sweep(12) == Tally(unmatched=2)
        assert world.memories.dirty().rows() == {"a": None}

    def test_the_same_half_again_replaces_the_first(self) -> None:
        """Which is then unmatched."""
        world = Cutting()
        assert world.half("x").dropped == Tally()
        assert world.half("x").dropped == Tally(unmatched=1)

    def test_halves_of_different_lengths_are_refused(self) -> None:
        """The later record is to blame; the earlier half waits on."""
        world = Cutting()
        world.half("x", count=2)
        with pytest.raises(BadEvent, match="id 'one': x has 2 examples, y has 3") as caught:
            world.half("y", count=3)
        assert caught.value.reason is Reason.SHAPE_MISMATCH
        world.half("y", count=2)
        assert world.ready() == 2

    def test_without_a_wait_a_half_is_refused(self) -> None:
        """The remedy is named."""
        with pytest.raises(BadEvent, match=r"events.label_wait_events = 0; send both, or raise it"):
            Cutting(halves=0).half("x")


def test_examples_unlike_the_gathered_are_refused() -> None:
    """By shape, and by kind of number; what is gathered stays."""
    world = Cutting()
    world.give()
    odd = numbered(0, 1).x.reshape(1, 1, 1)
    for x in (odd, odd[0].astype(np.int64)):
        with pytest.raises(BadEvent, match="those that its task has gathered are float32 of shape") as caught:
            world.cutter.portion(Examples("a", Batch(x, odd[0]), 5), 2)
        assert caught.value.reason is Reason.SHAPE_MISMATCH
    assert world.ready() == 1


def test_a_refused_episode_takes_its_oldest_examples_along() -> None:
    """Nothing of the refused record stays, and what spoils every update leaves in the end."""
    world = Cutting(sizes=Sizes(3, 2, 2))
    world.give(4)
    portion = world.give(1)
    assert portion.events
    assert portion.after.examples is not None
    assert portion.refused.examples is not None
    assert portion.after.examples.x.ravel().tolist() == [2.0, 3.0, 1.0]
    assert portion.refused.examples.x.ravel().tolist() == [2.0, 3.0]
