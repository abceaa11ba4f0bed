"""The cache of task memories: never a lost row, never more than its share of RAM."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from streammeta.state.memories import Entry, Memories
from streammeta.state.memory_store import MemoryStore
from streammeta.state.store import Meta, TaskRow, TaskStats

SIZE = 2
TASKS = st.sampled_from([f"t{i}" for i in range(7)])
NOTHING = Meta(b"", b"")


def entry_of(number: int) -> Entry:
    """An entry that no other number has."""
    return Entry(TaskStats(events=number), torch.tensor([float(number), -1.0]))


def cache(store: MemoryStore, capacity: int) -> Memories:
    """A cache over a store."""
    return Memories(store.get, torch.zeros(SIZE), capacity)


def commit(store: MemoryStore, memories: Memories) -> None:
    """What a checkpoint does."""
    store.commit(NOTHING, memories.dirty())
    memories.cleaned()


class CacheAgainstDict(RuleBasedStateMachine):
    """Any sequence of reads, writes, checkpoints and restarts reads what a plain dict would hold."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()
        self.now: dict[str, int] = {}
        self.committed: dict[str, int] = {}
        self.reads: list[str] = []
        self.number = 0

    @initialize(capacity=st.integers(1, 6))
    def begin(self, capacity: int) -> None:
        """A cache of any size over an empty store."""
        self.capacity = capacity
        self.memories = self.new()

    def new(self) -> Memories:
        """A cache whose reads of the store are counted."""

        def load(task: str) -> TaskRow | None:
            self.reads.append(task)
            return self.store.get(task)

        return Memories(load, torch.zeros(SIZE), self.capacity)

    @rule(task=TASKS)
    def read(self, task: str) -> None:
        """A read gives the last value put, from RAM or from the store, else an empty entry."""
        entry = self.memories.get(task)
        if task in self.now:
            assert entry.stats.events == self.now[task]
            assert entry.memory.tolist() == [float(self.now[task]), -1.0]
        else:
            assert entry.stats.events == 0
            assert not entry.memory.any()

    @rule(task=TASKS)
    def write(self, task: str) -> None:
        """A new value."""
        self.number += 1
        self.now[task] = self.number
        self.memories.put(task, entry_of(self.number))

    @rule()
    def checkpoint(self) -> None:
        """All dirty rows reach the store."""
        commit(self.store, self.memories)
        self.committed = dict(self.now)

    @rule()
    def crash(self) -> None:
        """RAM is gone: what was committed is what there is."""
        self.memories = self.new()
        self.now = dict(self.committed)

    @invariant()
    def dirty_rows_are_those_not_committed(self) -> None:
        """Nothing is forgotten; writing back a value twice is allowed only where it was put twice."""
        news = {task for task, number in self.now.items() if self.committed.get(task) != number}
        rows = self.memories.dirty()
        assert set(rows) == news
        assert {task: row.stats.events for task, row in rows.items() if row} == {t: self.now[t] for t in news}

    @invariant()
    def never_more_than_its_capacity_beside_what_is_dirty(self) -> None:
        """Clean rows make room; when the dirty ones alone fill the cache, it says so."""
        dirty = len(self.memories.dirty())
        assert len(self.memories) <= max(self.capacity, dirty)
        assert self.memories.full == (dirty >= self.capacity)

    @invariant()
    def dirty_rows_are_never_read_from_the_store(self) -> None:
        """The store still holds their former values."""
        before = len(self.reads)
        for task in self.memories.dirty():
            self.memories.get(task)
        assert len(self.reads) == before


TestCacheAgainstDict = CacheAgainstDict.TestCase
TestCacheAgainstDict.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


class Visits:
    """Visits as the engine makes them: a read, then a write; every read of the store is noted."""

    def __init__(self, capacity: int) -> None:
        self.store = MemoryStore()
        self.reads: list[str] = []
        self.memories = Memories(self._load, torch.zeros(SIZE), capacity)

    def _load(self, task: str) -> TaskRow | None:
        self.reads.append(task)
        return self.store.get(task)

    def visit(self, *tasks: str) -> None:
        """One event of each task."""
        for task in tasks:
            entry = self.memories.get(task)
            self.memories.put(task, entry._replace(stats=TaskStats(events=entry.stats.events + 1)))

    def from_ram(self, *tasks: str) -> bool:
        """Whether all these can be read without the store."""
        before = len(self.reads)
        for task in tasks:
            self.memories.get(task)
        return len(self.reads) == before


@pytest.fixture
def visits() -> Callable[[int], Visits]:
    """Makes caches of a capacity."""
    return Visits


def test_the_least_recently_used_goes_first(visits: Callable[[int], Visits]) -> None:
    """After a checkpoint the last visited stay, however early they were visited first."""
    cached = visits(3)
    cached.visit("hot", "b", "c")
    commit(cached.store, cached.memories)
    cached.visit("d", "e")
    cached.visit("hot", "d", "hot")
    commit(cached.store, cached.memories)
    cached.visit("new")
    commit(cached.store, cached.memories)
    assert cached.from_ram("new", "hot", "d")
    assert not cached.from_ram("e")


def test_a_read_counts_as_use(visits: Callable[[int], Visits]) -> None:
    """Of two clean rows the one read last stays."""
    cached = visits(2)
    cached.visit("a", "b")
    commit(cached.store, cached.memories)
    cached.memories.get("a")
    cached.visit("c")
    assert cached.from_ram("a")
    assert not cached.from_ram("b")


def test_a_task_takes_one_place(visits: Callable[[int], Visits]) -> None:
    """Clean or dirty, never both: a visit to a known task evicts nobody."""
    cached = visits(2)
    cached.visit("a", "b")
    commit(cached.store, cached.memories)
    cached.visit("a")
    assert len(cached.memories) == 2
    assert cached.from_ram("a", "b")


def test_an_evicted_row_comes_back_with_its_bits(visits: Callable[[int], Visits]) -> None:
    """Statistics and memory survive the way through the store; the norm is taken at the commit."""
    cached = visits(1)
    cached.memories.put("a", Entry(TaskStats(events=9), torch.tensor([3.0, -4.0])))
    commit(cached.store, cached.memories)
    cached.visit("b")
    commit(cached.store, cached.memories)
    back = cached.memories.get("a")
    assert cached.reads == ["b", "a"]
    assert torch.equal(back.memory, torch.tensor([3.0, -4.0]))
    assert (back.stats.events, back.stats.memory_norm) == (9, 5.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_memories_keep_their_dtype(dtype: torch.dtype) -> None:
    """Rows are raw numbers of the model's dtype."""
    store = MemoryStore()
    memories = Memories(store.get, torch.zeros(3, dtype=dtype), 5)
    memory = torch.tensor([1 / 3, 1e-30, -2.0], dtype=dtype)
    memories.put("a", Entry(TaskStats(events=1), memory))
    commit(store, memories)
    row = store.get("a")
    assert row is not None
    assert row.memory == memory.numpy().tobytes()
    again = Memories(store.get, torch.zeros(3, dtype=dtype), 5).get("a").memory
    assert again.dtype == dtype
    assert torch.equal(again, memory)


def test_a_loaded_row_may_be_written_to_without_harm() -> None:
    """A tensor from the store is a copy: the stored bytes never change beneath it."""
    store = MemoryStore()
    memories = cache(store, 5)
    memories.put("a", entry_of(7))
    commit(store, memories)
    cache(store, 5).get("a").memory.zero_()
    assert cache(store, 5).get("a").memory.tolist() == [7.0, -1.0]


def test_learners_without_memory_keep_empty_rows() -> None:
    """A memory of no numbers is stored as no bytes, and read as such; its norm is 0."""
    store = MemoryStore()
    memories = Memories(store.get, torch.zeros(0), 2)
    memories.put("a", Entry(TaskStats(events=3), torch.zeros(0)))
    commit(store, memories)
    row = store.get("a")
    assert row is not None
    assert row.memory == b""
    back = Memories(store.get, torch.zeros(0), 2).get("a")
    assert (back.memory.shape, back.stats.events, back.stats.memory_norm) == ((0,), 3, 0.0)
