"""A group's state for another number of ranks: every bit of every memory, nothing counted twice or lost."""

import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streammeta.distributed.place import directory_of
from streammeta.distributed.resharding import moving, parts
from streammeta.distributed.resharding.counters import Counter
from streammeta.errors import StateError
from streammeta.events import Record
from streammeta.state.checkpoint import pack
from streammeta.state.directory import StateDirectory
from streammeta.state.event_ids import EventIds
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.order_log import OrderLog
from streammeta.state.progress import Tally
from streammeta.state.quarantine import Held
from streammeta.stream.kafka.partitions import partition_of
from tests.distributed.groups import make_group, memories, move, put_down, read, standing, take_up, write
from tests.distributed.worlds import config_of, in_step, live, worlds_of
from tests.scripted import Fuse, Killed, make_script
from tests.state.strategies import task_ids
from tests.states import checkpoint_of, row_of

TASKS = [f"task-{number}" for number in range(12)]


def files(base: Path) -> dict[Path, bytes]:
    """What stands in every file, but LMDB's table of readers."""
    return {p: p.read_bytes() for p in base.rglob("*") if p.is_file() and p.name != "lock.mdb"}


def script_of(events: int) -> list[Record]:
    """A script whose records are where Kafka's partitioner puts them."""
    made = make_script(5, partitions=1, tasks=9, events=events, poison=0.0)
    return [r._replace(partition=partition_of(r.key or b"", 4), offset=n) for n, r in enumerate(made)]


@settings(max_examples=8, deadline=None)
@given(
    tasks=st.sets(task_ids, max_size=9),
    worlds=st.lists(st.integers(1, 5), min_size=2, max_size=3),
    partitions=st.integers(5, 9),
)
def test_any_worlds_in_turn_keep_every_memory(tasks: set[str], worlds: list[int], partitions: int) -> None:
    """Whatever the ids: the same memories, each with the rank of its partition, counters that add up."""
    with tempfile.TemporaryDirectory() as folder:
        base = make_group(Path(folder) / "0", worlds[0], partitions, tasks)
        before, counted = memories(base), [held.checkpoint for held in read(base)]
        for number, world in enumerate(worlds[1:], start=1):
            base, former = Path(folder) / str(number), base
            move(former, base, world)
        assert memories(base) == before
        found = [held.checkpoint for held in read(base)]
        for rank, held in enumerate(read(base)):
            assert {partition_of(task.encode(), partitions) % worlds[-1] for task in held.rows} <= {rank}
            assert held.checkpoint.positions == {p: 100 + p for p in range(rank, partitions, worlds[-1])}
        assert sum(c.progress.events for c in found) == sum(c.progress.events for c in counted)
        assert sum(c.tally.records for c in found) == sum(c.tally.records for c in counted)


def test_two_four_one(tmp_path: Path) -> None:
    """2 → 4 → 1: bit for bit every memory; the old states keep every byte; the report says what is there."""
    two = make_group(tmp_path / "two", 2, 8, TASKS)
    before, content = memories(two), files(two)
    done = move(two, tmp_path / "four", 4)
    assert [rank.tasks for rank in done.ranks] == [len(held.rows) for held in read(tmp_path / "four")]
    last = move(tmp_path / "four", tmp_path / "one", 1)
    assert memories(tmp_path / "one") == before
    assert done.checksum == last.checksum
    assert files(two) == content


def test_one_state_stays_what_it_is(tmp_path: Path) -> None:
    """1 → 1: all values of the state, its history and ids too, are the same."""
    checkpoint, ids = checkpoint_of(ids=(3, 4)), {3: b"\1" * 24}
    with StateDirectory(tmp_path / "one") as made, closing(LmdbStore(made.lmdb_path)) as store:
        store.commit(replace(pack(checkpoint), history=b"h", ids=dict(ids)), {"a": row_of(5)}, b"c")
    move(tmp_path / "one", tmp_path / "two", 1)
    for name in ("one", "two"):
        with closing(LmdbStore(tmp_path / name / "lmdb", readonly=True)) as store:
            meta = store.load()
            assert meta is not None
            assert (meta.document, meta.history) == (pack(checkpoint).document, b"h")
            assert (store.ids(), store.constants()) == (ids, b"c")
            assert repr(store.get("a")) == repr(row_of(5))
    with closing(OrderLog(tmp_path / "two" / "order.log", expected=True)) as log:
        assert log.pending({}) == []


def test_a_group_goes_on_where_it_was(tmp_path: Path) -> None:
    """Two ranks learn half a stream, four the next part, one the end: each event is learned exactly once."""
    script, config = script_of(60), config_of(round_events=5)
    two = worlds_of(script[:25], 2, tmp_path, config)
    assert live(two)
    kept = {task: row.memory for world in two for task, row in world.rows().items()}
    move(put_down(two, tmp_path / "2", 4), tmp_path / "4", 4)
    assert memories(tmp_path / "4") == kept
    four = worlds_of(script[:45], 4, tmp_path, config)
    take_up(four, tmp_path / "4")
    assert all(torch.equal(w.checkpoint().state.params, two[0].checkpoint().state.params) for w in four)
    assert live(four)
    assert in_step(four)
    move(put_down(four, tmp_path / "44", 4), tmp_path / "1", 1)
    (one,) = worlds_of(script, 1, tmp_path, config)
    take_up([one], tmp_path / "1")
    assert one.live()
    counts = {task: row.stats.events for task, row in one.rows().items()}
    assert counts == {f"task-{n}": sum(r.key == f"task-{n}".encode() for r in script) for n in range(9)}
    assert one.checkpoint().progress.events == len(script)


def test_an_open_round_ends_with_its_mean(tmp_path: Path) -> None:
    """Ranks that stopped within a round: the mean by events learned since the last one, and its weights."""
    for rank, (events, learned) in enumerate([(40, 30), (20, 10)]):
        checkpoint = checkpoint_of(
            events, positions={rank: 1}, standing=standing(rank, 2, 2, events - learned, closed=3, united=3)
        )
        write(directory_of(tmp_path / "two", rank), checkpoint, {})
    done = move(tmp_path / "two", tmp_path / "one", 1)
    assert done.unison.weights == [0.75, 0.25]
    (held,) = read(tmp_path / "one")
    assert torch.equal(held.checkpoint.state.params, torch.tensor([35.0, 35.25, 35.5]))


def test_ranks_of_different_rounds_are_refused(tmp_path: Path) -> None:
    """One has not closed the round in which the other has united: no consistent cut; nothing is written."""
    group = make_group(tmp_path / "two", 2, 4, TASKS)
    behind = checkpoint_of(positions={1: 5}, standing=standing(1, 2, 4, 5, closed=2, united=2))
    write(directory_of(group, 1), behind, {})
    with pytest.raises(StateError, match="rank 1 has closed round 2, others have united in round 3"):
        move(group, tmp_path / "one", 1)
    assert not (tmp_path / "one").exists()


def test_a_killed_move_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between any two writes: no target, or the whole one; the next try succeeds; --from stays."""
    group = make_group(tmp_path / "two", 2, 8, TASKS)
    before, content = memories(group), files(group)
    monkeypatch.setattr(moving, "TOGETHER_BYTES", 30)
    whole = 0
    for length in range(1, 100):
        fuse, target = Fuse(length), tmp_path / str(length)
        with monkeypatch.context() as patch:
            _burn(patch, fuse)
            try:
                move(group, target, 3, said=lambda _step, fuse=fuse: fuse.passed())
            except Killed:
                if target.exists():
                    whole += 1
                    assert memories(target) == before
                    continue
            else:
                break
        move(group, target, 3)
        assert memories(target) == before
        assert not target.with_name(f"{target.name}.resharding").exists()
    assert length > 15
    assert whole > 0
    assert files(group) == content


def _burn(patch: pytest.MonkeyPatch, fuse: Fuse) -> None:
    """A kill may happen before each commit and each rename."""
    commit, rename = LmdbStore.commit, Path.rename

    def committed(store: LmdbStore, *arguments: object) -> int:
        fuse.passed()
        return commit(store, *arguments)  # type: ignore[arg-type]  # as they came

    def renamed(path: Path, target: Path) -> Path:
        fuse.passed()
        return rename(path, target)

    patch.setattr(LmdbStore, "commit", committed)
    patch.setattr(Path, "rename", renamed)


def test_more_partitions_move_the_tasks(tmp_path: Path) -> None:
    """Where the topic has grown, each task is with the rank of its new partition."""
    group = make_group(tmp_path / "two", 2, 4, TASKS)
    move(group, tmp_path / "grown", 2, 6)
    for rank, held in enumerate(read(tmp_path / "grown")):
        assert {partition_of(task.encode(), 6) % 2 for task in held.rows} <= {rank}
        assert held.checkpoint.positions == {p: 100 + p for p in range(rank, 4, 2)}
        assert held.checkpoint.standing is not None
        assert held.checkpoint.standing.partitions == 6
    assert memories(tmp_path / "grown") == memories(group)


def test_what_was_written_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A memory that changed on the way, or a task too few: told, and no target appears."""
    group = make_group(tmp_path / "two", 2, 4, TASKS)
    rows = parts.rows

    def spoilt(*arguments: object) -> object:
        for task, row in rows(*arguments):  # type: ignore[arg-type]  # as they came
            yield task, row._replace(memory=row.memory[::-1]) if task == TASKS[3] else row

    def fewer(*arguments: object) -> object:
        yield from (each for each in rows(*arguments) if each[0] != TASKS[3])  # type: ignore[arg-type]  # so did they

    for fault in (spoilt, fewer):
        monkeypatch.setattr(parts, "rows", fault)
        with pytest.raises(StateError, match="not what was read"):
            move(group, tmp_path / "one", 1)
        assert not (tmp_path / "one").exists()


def test_quarantine_and_ids_go_along(tmp_path: Path) -> None:
    """A task held back is so at its new rank; an id is known wherever its repeat may come."""
    events, record = {b"%016d" % n: n for n in (90, 95, 100)}, 100
    window = EventIds(50)
    for event, number in events.items():
        window.add(event, number)
    one = checkpoint_of(
        100,
        positions={0: 3, 1: 3},
        tally=Tally(record),
        ids=window.extent,
        quarantine={"a": Held(60, 2.0), "b": Held(101, 3.0)},
    )
    with StateDirectory(tmp_path / "one") as made, closing(LmdbStore(made.lmdb_path)) as store:
        store.commit(
            replace(pack(one), ids=window.changed()), {"a": row_of(1, events=25), "b": row_of(2, events=75)}
        )
    move(tmp_path / "one", tmp_path / "two", 2)
    found = read(tmp_path / "two")
    assert {task: held.norm for each in found for task, held in each.checkpoint.quarantine.items()} == {
        "a": 2.0,
        "b": 3.0,
    }
    for rank, each in enumerate(found):
        assert {partition_of(task.encode(), 2) for task in each.checkpoint.quarantine} <= {rank}
        ids, records = EventIds(50, each.ids, each.checkpoint.ids), each.checkpoint.tally.records
        assert all(ids.known(event, records + 50 - (record - n)) for event, n in events.items())


def test_ages_never_grow() -> None:
    """Whatever the counters: what came after comes after still, and is no older in records than it was."""
    for before, after in [(100, 7), (7, 100), (1, 1), (50, 0)]:
        moved = [Counter(before, after).moved(number) for number in range(1, before + 1)]
        assert moved == sorted(moved)
        assert all(0 <= after - new <= before - old for old, new in enumerate(moved, start=1))
