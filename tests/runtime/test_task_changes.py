"""Tombstones and resets: a task is forgotten, or begun anew, in the stream's order, exactly once."""

import random
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streammeta.codec import CONTROL, RESET
from streammeta.config import Config
from streammeta.errors import Reason
from streammeta.events import Record
from streammeta.outcomes import Learned, Outcome, Skipped, TaskChanged
from streammeta.runtime.blueprint import build_blueprint
from streammeta.state.store import TaskRow
from tests.example_streams import make_examples
from tests.scripted import make_script
from tests.world import CONFIG, World, batches_of, rows_of, same

EVENTS, TASKS = 80, 6
KINDS = ["episode", "examples"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the worlds of this module."""
    return tmp_path_factory.mktemp("changes")


def tombstone(record: Record) -> Record:
    """A tombstone of its task in the record's place."""
    return record._replace(value=None, headers=())


def reset(record: Record) -> Record:
    """A reset of its task in the record's place."""
    return record._replace(value=b"{}", headers=((CONTROL, RESET),))


def config_of(kind: str, batch: int) -> Config:
    """The configuration of the worlds; with what else may be there to be forgotten."""
    events: dict[str, object] = {"batch": batch, "forgetting_sets": 2}
    if kind == "examples":
        events |= {"kind": kind, "support": 2, "query": 1, "expire_after_events": 25, "label_wait_events": 20}
    return Config.model_validate({**CONFIG.model_dump(exclude_unset=True), "events": events})


@lru_cache(maxsize=8)
def uncut(seed: int, kind: str, batch: int, folder: Path) -> World:
    """One undisturbed life, recorded, over a stream in which every eighth record changes its task."""
    if kind == "episode":
        script = make_script(seed, partitions=3, tasks=TASKS, events=EVENTS, wild=0.05)
    else:
        script = make_examples(seed, partitions=3, tasks=TASKS, records=EVENTS)
    draws = random.Random(seed)
    for place in draws.sample(range(10, EVENTS), EVENTS // 8):
        script[place] = draws.choice((tombstone, tombstone, reset))(script[place])
    world = World(script, folder, config_of(kind, batch), part_bytes=2000)
    assert world.live()
    return world


@given(data=st.data())
@settings(max_examples=8, deadline=None)
def test_kills_pieces_and_replays_change_nothing(data: st.DataObject, folder: Path) -> None:
    """Cut anywhere, polled in any pieces, gathered in iterations, replayed: the bits of the uncut run."""
    seed, kind = data.draw(st.integers(0, 2), label="script"), data.draw(st.sampled_from(KINDS), label="kind")
    batch = data.draw(st.sampled_from([1, 3]), label="batch")
    fuses = data.draw(st.lists(st.integers(1, 200), max_size=4), label="kills")
    draws = random.Random(data.draw(st.integers(0, 2**32), label="pieces"))
    reference = uncut(seed, kind, batch, folder)
    world = World(reference.script, folder, reference.config, part_bytes=2000)
    assert world.live_killed(fuses, draws)
    assert same(world, reference)
    assert same(world.replayed(), reference)


def renamed(script: Sequence[Record], place: int) -> list[Record]:
    """The task that is changed there is called otherwise from there on, and what changed it names nobody."""
    key = script[place].key
    after = [r._replace(key=b"renamed") if r.key == key else r for r in script[place:]]
    return [*script[:place], after[0]._replace(key=b"nobody"), *after[1:]]


def changed(change: Callable[[Record], Record]) -> tuple[list[Record], int, str]:
    """A stream without faults; where in it a task is changed, and which."""
    script = make_script(4, partitions=2, tasks=4, events=50, poison=0.0)
    place = next(n for n, record in enumerate(script) if n >= 25 and record.key == b"task-1")
    script[place] = change(script[place])
    return script, place, "task-1"


@pytest.mark.parametrize("batch", [1, 3])
def test_a_forgotten_task_comes_back_as_another_one_would(batch: int, folder: Path) -> None:
    """As if its later events were those of a task never seen; of the one before nothing is left."""
    script, place, task = changed(tombstone)
    world, other = (World(s, folder, batches_of(batch)) for s in (script, renamed(script, place)))
    assert world.live()
    assert other.live()
    assert torch.equal(world.checkpoint().state.params, other.checkpoint().state.params)
    assert repr(world.checkpoint().progress) == repr(other.checkpoint().progress)
    rows = other.rows()
    del rows[task]
    assert repr(world.rows()) == repr(
        dict(sorted((task if n == "renamed" else n, r) for n, r in rows.items()))
    )


@pytest.mark.parametrize("batch", [1, 3])
def test_a_reset_task_begins_anew_with_its_statistics(batch: int, folder: Path) -> None:
    """Its memory is that of a task never seen; its events go on being counted."""
    script, place, task = changed(reset)
    world, other = (World(s, folder, batches_of(batch)) for s in (script, renamed(script, place)))
    assert world.live()
    assert other.live()
    assert torch.equal(world.checkpoint().state.params, other.checkpoint().state.params)
    assert repr(world.checkpoint().progress) == repr(other.checkpoint().progress)
    row, rows = world.rows()[task], other.rows()
    assert row.memory == rows["renamed"].memory
    before, after = rows[task].stats, rows["renamed"].stats
    assert (row.stats.events, row.stats.reset_after) == (before.events + after.events, before.events)
    assert row.stats.memory_norm == after.memory_norm
    assert before.events > 1 < after.events


@pytest.mark.parametrize("cache", [1, 100])
def test_the_row_is_out_of_the_state_with_the_next_commit(cache: int, folder: Path) -> None:
    """Deleted, whether it was in RAM or in the store alone; a reset leaves the statistics."""
    script = make_script(2, partitions=1, tasks=4, events=40, poison=0.0)
    last = script[-1].offset
    ends = [
        change(script[0])._replace(key=key, offset=last + number)
        for number, (change, key) in enumerate([(tombstone, b"task-1"), (reset, b"task-2")], start=1)
    ]
    config = CONFIG.model_copy(update={"state": CONFIG.state.model_copy(update={"cache_tasks": cache})})
    world = World(script, folder, config)
    assert world.live()
    before = world.rows()
    world.script = [*script, *ends]
    assert world.live()
    assert before.keys() - world.rows().keys() == {"task-1"}
    row = world.rows()["task-2"]
    expected = before["task-2"].stats._replace(reset_after=before["task-2"].stats.events, memory_norm=0.0)
    assert repr(row) == repr(TaskRow(expected, b""))  # in words: NaN is equal to NaN
    others, others_before = (
        {task: row for task, row in rows.items() if task not in ("task-1", "task-2")}
        for rows in (world.rows(), before)
    )
    assert repr(others) == repr(others_before)


def test_each_is_told_in_its_place(folder: Path) -> None:
    """What was known, and what was not; the visit after is a first one, told behind it."""
    script = make_script(3, partitions=1, tasks=2, events=16, poison=0.0)
    places = [n for n, record in enumerate(script) if record.key == b"task-0"][2:6]
    for place, change in zip(places, (tombstone, tombstone, reset), strict=False):
        script[place] = change(script[place])
    told: list[Outcome] = []
    world = World(script, folder)
    assert world.live(observers=(told.append,), batch=lambda: 16)
    changes = [(one.change, one.known) for one in told if isinstance(one, TaskChanged)]
    assert changes == [("forget", True), ("forget", False), ("reset", False)]
    last = max(n for n, one in enumerate(told) if isinstance(one, TaskChanged))
    assert not any(isinstance(one, Skipped) for one in told)
    counts = [row.task_events for row in rows_of(told[last:]) if row.task == "task-0"]
    assert counts == list(range(1, len(counts) + 1))
    assert any(isinstance(one, Learned) for one in told[:last])


def test_a_quarantine_ends_with_what_is_forgotten_or_reset(folder: Path) -> None:
    """Else the task's first visit would be refused for what nobody knows any more."""
    config = CONFIG.model_copy(
        update={"events": CONFIG.events.model_copy(update={"memory_norm_limit": 1e-9})}
    )
    limited = build_blueprint(config)
    for change in (tombstone, reset):
        script = make_script(5, partitions=1, tasks=2, events=8, poison=0.0)
        place = next(n for n, record in enumerate(script) if n >= 5 and record.key == b"task-1")
        script[place] = change(script[place])
        world = World(script[:place], folder, config, learner=limited)
        assert world.live()
        assert set(world.checkpoint().quarantine) == {"task-0", "task-1"}
        world.script = script[: place + 1]
        assert world.live()
        assert set(world.checkpoint().quarantine) == {"task-0"}


def test_what_names_no_task_is_a_dead_letter(folder: Path) -> None:
    """So is every tombstone where the configuration says so; nothing stops the stream."""
    script = make_script(1, partitions=1, tasks=2, events=12, poison=0.0)
    script[3] = tombstone(script[3])._replace(key=None)
    script[4] = tombstone(script[4])._replace(key=b"\xff")
    script[5] = tombstone(script[5])._replace(key=b"x" * 257)
    script[6] = tombstone(script[6])
    reasons = [Reason.MISSING_TASK_ID, Reason.BAD_TASK_ID, Reason.BAD_TASK_ID]
    for tombstones, expected in (("forget", reasons), ("dead_letter", [*reasons, Reason.UNDECODABLE])):
        events = CONFIG.events.model_copy(update={"tombstones": tombstones})
        world = World(script, folder, CONFIG.model_copy(update={"events": events}))
        assert world.live()
        assert [refusal.reason for _, refusal in world.dead] == expected
        assert world.checkpoint().progress.events == 8
    assert 'events.tombstones = "forget"' in str(world.dead[-1][1])


def test_a_tombstone_sent_again_forgets_once(folder: Path) -> None:
    """Its repeat, by its ce_id, does not forget what came between the two."""
    script = make_script(6, partitions=1, tasks=1, events=12, poison=0.0)
    for place in (4, 8):
        script[place] = tombstone(script[place])._replace(headers=(("ce_id", b"one"),))
    events = CONFIG.events.model_copy(update={"dedupe_window_events": 100})
    world = World(script, folder, CONFIG.model_copy(update={"events": events}))
    assert world.live()
    assert world.rows()["task-0"].stats.events == 6
