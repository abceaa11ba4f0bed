"""What every `Store` promises.

To enrol, subclass `StoreContract` once in a test module that has a module-scoped fixture `new_store`: a
callable without arguments that returns a context manager, which gives a fresh, empty store and closes it.
"""

import math
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streammeta.state.store import Meta, Store, TaskRow, TaskStats
from tests.state.strategies import commits, metas, rows, task_ids

NewStore = Callable[[], AbstractContextManager[Store]]

few = settings(max_examples=40, deadline=None)  # each example is an fsync or more, and a disk may be slow

META = Meta(b"tensors", b"{}")


def bits(stats: TaskStats) -> tuple[str, ...]:
    """Statistics so that NaN equals NaN and 0.0 differs from -0.0."""
    return tuple(v.hex() if isinstance(v, float) else str(v) for v in stats)


def content(row: TaskRow) -> tuple[Any, ...]:
    """All that a row holds, comparable."""
    return bits(row.stats), row.memory, row.buffer, row.waiting


def as_dict(store: Store) -> dict[str, tuple[Any, ...]]:
    """All tasks, read one by one."""
    found = {}
    for task, stats in store.stats():
        row = store.get(task)
        assert row is not None
        assert bits(stats) == bits(row.stats)
        found[task] = content(row)
    return found


class StoreContract:
    """The suite. Its tests use nothing but the protocol."""

    def test_empty(self, new_store: NewStore) -> None:
        """Before the first commit there is no meta state and no task."""
        with new_store() as store:
            assert store.load() is None
            assert store.get("a") is None
            assert store.count() == 0
            assert list(store.stats()) == []

    @few
    @given(history=st.lists(commits, max_size=6))
    def test_any_sequence_of_commits_equals_a_dict(
        self, new_store: NewStore, history: list[tuple[Meta, Mapping[str, TaskRow | None]]]
    ) -> None:
        """After each commit the store holds the last meta state and the last row of every known task."""
        model: dict[str, TaskRow] = {}
        with new_store() as store:
            for meta, tasks in history:
                store.commit(meta, tasks)
                model = {t: row for t, row in {**model, **tasks}.items() if row is not None}
                assert store.load() == meta
                assert as_dict(store) == {t: content(row) for t, row in model.items()}
                late = {t: row.waiting for t, row in model.items() if row.waiting is not None}
                assert dict(store.waiting()) == late
                assert store.count() == len(model)

    def test_constants_stay_until_others_are_committed(self, new_store: NewStore) -> None:
        """Nothing at first; a commit without them leaves them and writes none of their bytes."""
        with new_store() as store:
            assert store.constants() == b""
            without = store.commit(META, {})
            assert store.constants() == b""
            assert store.commit(META, {}, b"x" * 5000) == without + 5000
            assert store.commit(Meta(b"other", b"{}"), {"a": None}) < 5000
            assert store.constants() == b"x" * 5000
            store.commit(META, {}, b"")
            assert store.constants() == b""

    def test_blocks_of_event_ids_stay_until_they_are_replaced_or_forgotten(self, new_store: NewStore) -> None:
        """Beside the meta state, which does not bring them along."""
        with new_store() as store:
            assert dict(store.ids()) == {}
            store.commit(replace(META, ids={0: b"zero", 1: b"one", 2**40: b"far"}), {})
            store.commit(replace(META, ids={0: None, 1: b"more", 7: None}), {}, b"constants")
            store.commit(META, {"a": None})
            assert dict(store.ids()) == {1: b"more", 2**40: b"far"}
            assert store.load() == META

    @few
    @given(tasks=st.dictionaries(task_ids, rows, min_size=2, max_size=20))
    def test_stats_come_in_byte_order(self, new_store: NewStore, tasks: dict[str, TaskRow]) -> None:
        """`stats` goes by the UTF-8 bytes of the ids."""
        with new_store() as store:
            store.commit(META, tasks)
            assert [task for task, _ in store.stats()] == sorted(tasks, key=str.encode)

    def test_unseen_losses_stay_nan(self, new_store: NewStore) -> None:
        """The defaults of `TaskStats` come back as they are."""
        with new_store() as store:
            store.commit(META, {"a": TaskRow(TaskStats(), b"")})
            row = store.get("a")
            assert row is not None
            assert math.isnan(row.stats.loss_meta)
            assert bits(row.stats) == bits(TaskStats())
            assert row.memory == b""

    @few
    @given(meta=metas, tasks=st.dictionaries(task_ids, rows, max_size=4))
    def test_written_bytes_cover_the_content(
        self, new_store: NewStore, meta: Meta, tasks: dict[str, TaskRow]
    ) -> None:
        """The number that `commit` returns counts at least the meta state, the ids and the memories."""
        least = len(meta.tensors) + len(meta.document) + len(meta.history)
        least += sum(len(task.encode()) + len(row.memory) + len(row.buffer) for task, row in tasks.items())
        with new_store() as store:
            assert least <= store.commit(meta, tasks) <= least + 800 * len(tasks)

    @pytest.mark.parametrize("task", ["", "x" * 257, "ü" * 129, "\udc80"], ids=ascii)
    def test_impossible_ids(self, new_store: NewStore, task: str) -> None:
        """An id that is empty, over 256 bytes or no Unicode is unknown; to commit it changes nothing."""
        with new_store() as store:
            assert store.get(task) is None
            with pytest.raises(ValueError, match=r"task id .* must be 1 to 256 bytes"):
                store.commit(META, {"a": TaskRow(TaskStats(), b"1"), task: TaskRow(TaskStats(), b"2")})
            assert store.load() is None
            assert store.count() == 0

    @pytest.mark.parametrize("task", ["x" * 256, "ü" * 128, "\0", "a/b\n"], ids=ascii)
    def test_longest_and_odd_ids(self, new_store: NewStore, task: str) -> None:
        """Up to 256 bytes of any Unicode make an id."""
        with new_store() as store:
            store.commit(META, {task: TaskRow(TaskStats(events=3), b"m")})
            row = store.get(task)
            assert row is not None
            assert (row.stats.events, row.memory) == (3, b"m")
            assert [t for t, _ in store.stats()] == [task]

    def test_iteration_shows_one_commit(self, new_store: NewStore) -> None:
        """A running `stats` does not see what is committed meanwhile; the next one does."""
        with new_store() as store:
            store.commit(META, {t: TaskRow(TaskStats(events=1), b"") for t in "ac"})
            running = store.stats()
            first = next(running)
            store.commit(META, {t: TaskRow(TaskStats(events=2), b"") for t in "abcd"})
            seen = [(task, stats.events) for task, stats in [first, *running]]
            assert seen == [("a", 1), ("c", 1)]
            assert [(task, stats.events) for task, stats in store.stats()] == [(t, 2) for t in "abcd"]

    def test_read_by_other_threads(self, new_store: NewStore) -> None:
        """Threads that read while another commits see whole commits, in order."""
        with new_store() as store:
            store.commit(Meta(b"", b"0"), {})
            problems: list[str] = []
            done = threading.Event()

            def read() -> None:
                last = 0
                while not done.is_set():
                    counts = {stats.events for _, stats in store.stats()}
                    if len(counts) > 1 or max(counts, default=last) < last:
                        problems.append(f"{counts} after {last}")
                    last = max(counts, default=last)

            readers = [threading.Thread(target=read) for _ in range(2)]
            for reader in readers:
                reader.start()
            for n in range(1, 41):
                row = TaskRow(TaskStats(events=n), b"x" * 100)
                store.commit(Meta(b"", str(n).encode()), {f"t{i}": row for i in range(50)})
            done.set()
            for reader in readers:
                reader.join()
            assert problems == []

    def test_close_twice(self, new_store: NewStore) -> None:
        """A second `close` does nothing."""
        with new_store() as store:
            store.commit(META, {})
            store.close()
            store.close()
