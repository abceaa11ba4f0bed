"""The loop: exactly once, in the same order, to the same bits, whatever is cut, killed or delivered again."""

import json
import random
from collections.abc import Sequence
from functools import cache
from itertools import count
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streammeta.errors import Reason, StateError
from streammeta.events import Passed, Record, Run
from streammeta.outcomes import Checkpointed, Duplicate, Learned, Outcome, Refused, Turned
from streammeta.runtime.blueprint import build_blueprint, restore
from streammeta.state.checkpoint import unpack
from streammeta.state.order_log import OrderLog
from streammeta.state.store import Meta
from streammeta.stream.base import Waiting, untold
from tests.scripted import Fuse, ScriptedSource, make_script
from tests.world import CONFIG, World, rows_of, same, stop_after

TASKS = 6


@cache
def uncut(seed: int, folder: Path, partitions: int = 3) -> World:
    """The world after one undisturbed life."""
    world = World(make_script(seed, partitions=partitions, tasks=TASKS, events=60), folder)
    assert world.live()
    return world


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the order logs of this module."""
    return tmp_path_factory.mktemp("loop")


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_any_batches_any_kills_any_redelivery_give_the_same_bits(data: st.DataObject, folder: Path) -> None:
    """Cut at any moment between any two hops, as often as you like: the state is that of the uncut run."""
    seed = data.draw(st.integers(0, 3), label="script")
    fuses = data.draw(st.lists(st.integers(1, 150), max_size=6), label="kills")
    draws = random.Random(data.draw(st.integers(0, 2**32), label="batches"))
    reference = uncut(seed, folder)
    world = World(reference.script, folder)
    assert world.live_killed(fuses, draws)
    assert same(world, reference)


@given(stops=st.lists(st.integers(1, 20), min_size=1, max_size=6), seed=st.integers(0, 3))
@settings(max_examples=20, deadline=None)
def test_clean_stops_in_the_middle_of_a_batch_give_the_same_bits(
    stops: list[int], seed: int, folder: Path
) -> None:
    """SIGTERM after any event: what was polled but not applied is applied first, in its order, later."""
    reference = uncut(seed, folder)
    world = World(reference.script, folder)
    for number in [*stops, 10**6]:
        controls, count = stop_after(number, Learned | Refused)
        assert world.live(observers=(count,), controls=controls, batch=lambda: 8)
    assert same(world, reference)


def test_a_different_order_gives_different_bits(folder: Path) -> None:
    """The comparison can fail: another interleaving of the same records ends elsewhere."""
    reference = uncut(0, folder)
    by_partition = World(sorted(reference.script, key=lambda r: (r.partition, r.offset)), folder)
    assert by_partition.live()
    assert by_partition.checkpoint().progress.events == reference.checkpoint().progress.events
    assert not same(by_partition, reference)


def test_every_task_is_counted_exactly(folder: Path) -> None:
    """Events per task are those of the script without its poison, after many kills and redeliveries."""
    script = make_script(9, partitions=4, tasks=TASKS, events=60)
    world = World(script, folder)
    for length in range(5, 100, 9):
        world.live(fuse=Fuse(length), redeliver=lambda: 3)
    assert world.live()
    good = [r for r in script if not (r.value or b"").startswith(b"\xc1")]
    counts = {task: row.stats.events for task, row in world.rows().items()}
    assert counts == {f"task-{i}": sum(r.key == f"task-{i}".encode() for r in good) for i in range(TASKS)}
    assert world.checkpoint().refused == {Reason.UNDECODABLE: len(script) - len(good)}
    assert world.source is not None
    assert world.source.told == world.checkpoint().positions


def test_only_the_arriving_task_moves(folder: Path) -> None:
    """Fact 2: after an event only its task's memory differs, bit for bit."""
    script = make_script(5, partitions=1, tasks=TASKS, events=40, poison=0.0)
    before = World(script[:-1], folder)
    after = World(script, folder)
    for world in (before, after):
        assert world.live()
    moved = {task for task, row in after.rows().items() if row.memory != before.rows()[task].memory}
    assert moved == {(script[-1].key or b"").decode()}
    assert not torch.equal(after.checkpoint().state.params, before.checkpoint().state.params)


def test_poison_is_set_aside_and_the_rest_is_learned(folder: Path) -> None:
    """A refused record reaches the dead letters before the offset moves on, and changes no state."""
    script = make_script(2, partitions=2, tasks=TASKS, events=60)
    good = [r for r in script if not (r.value or b"").startswith(b"\xc1")]
    assert len(good) < len(script)
    poisoned, clean = World(script, folder), World(good, folder)
    for world in (poisoned, clean):
        assert world.live()
    assert [r for r, _ in poisoned.dead] == [r for r in script if r not in good]
    assert {refusal.reason for _, refusal in poisoned.dead} == {Reason.UNDECODABLE}
    assert torch.equal(poisoned.checkpoint().state.params, clean.checkpoint().state.params)


def test_a_commit_waits_for_the_dead_letters(folder: Path) -> None:
    """Killed while dead letters are unacknowledged, the state does not contain their offsets."""
    script = make_script(2, partitions=1, tasks=TASKS, events=60, poison=1.0)
    world = World(script, folder)
    for length in range(2, 60):
        world.live(fuse=Fuse(length))
        contained = world.checkpoint().positions.get(0, 0) if world.store.load() else 0
        kept = {record.offset for record, _ in world.dead}
        assert {r.offset for r in script if r.offset < contained} <= kept


def test_a_cache_smaller_than_the_checkpoint_interval_checkpoints_earlier(folder: Path) -> None:
    """Dirty rows are never evicted: a full cache makes a checkpoint due."""
    script = make_script(6, partitions=1, tasks=TASKS, events=40, poison=0.0)
    world = World(script, folder)
    cached: list[int] = []
    assert world.live(
        observers=(lambda o: cached.append(o.tasks_cached) if isinstance(o, Checkpointed) else None,)
    )
    assert max(cached) <= CONFIG.state.cache_tasks
    assert len(world.rows()) == TASKS


def test_duplicates_are_told_and_passed_over(folder: Path) -> None:
    """A record below the stored offset is counted as a duplicate."""
    script = make_script(7, partitions=1, tasks=TASKS, events=20, poison=0.0)
    world = World(script, folder)
    told: list[Outcome] = []
    assert world.live(redeliver=lambda: 2, observers=(told.append,))
    assert sum(isinstance(o, Duplicate) for o in told) == 2 * 3
    assert learned(told) == 20


def test_losses_are_prequential(folder: Path) -> None:
    """Changing what an event brings leaves the losses of all events before it, and changes its own."""
    script = make_script(8, partitions=1, tasks=2, events=12, poison=0.0)
    other = [*script[:8], *make_script(80, partitions=1, tasks=2, events=12, poison=0.0)[8:]]
    losses: list[list[float]] = []
    for records in (script, other):
        world = World(
            [Record("tasks", 0, n, n, r.key, r.value, r.headers) for n, r in enumerate(records)],
            folder,
        )
        told: list[Outcome] = []
        assert world.live(observers=(told.append,))
        losses.append([row.loss_adapted for row in rows_of(told)])
    assert losses[0][:8] == losses[1][:8]
    assert losses[0][8] != losses[1][8]


def test_a_state_of_another_configuration_is_refused_with_the_difference(folder: Path) -> None:
    """Beta changed: the message names it, both values and the remedy."""
    reference = uncut(0, folder)
    changed = CONFIG.model_copy(update={"algorithm": CONFIG.algorithm.model_copy(update={"beta": 0.5})})
    with pytest.raises(StateError, match=r"algorithm\.beta.*0\.3.*0\.5(.|\n)*state\.dir"):
        restore(build_blueprint(changed), reference.store)


def learned(told: list[Outcome]) -> int:
    """How many events were learned."""
    return len(rows_of(told))


@pytest.mark.parametrize("ids", [("", ""), ("one", "two")], ids=["unknown topic ids", "known topic ids"])
def test_a_topic_made_anew_while_it_is_read_is_learned_whole(ids: tuple[str, str], folder: Path) -> None:
    """The source went back: what follows is no duplicate, and the state holds the new positions and id."""
    old = make_script(11, partitions=2, tasks=TASKS, events=30, poison=0.0)
    new = make_script(12, partitions=2, tasks=TASKS, events=26, poison=0.0)
    world, told = World(old, folder, topic_id=ids[0]), list[Outcome]()

    def replace_topic(outcome: Outcome) -> None:
        told.append(outcome)
        if learned(told) == 25 and isinstance(outcome, Turned):
            assert world.source is not None
            world.source.recreate(new, ids[1])

    assert world.live(observers=(replace_topic,))
    assert not any(isinstance(outcome, Duplicate) for outcome in told)
    assert learned(told) == world.checkpoint().progress.events == 25 + 26
    world.script, world.topic_id = new, ids[1]
    assert world.checkpoint().topic_id == ids[1]
    assert world.live()
    assert world.checkpoint().progress.events == 25 + 26
    assert world.source is not None
    assert world.checkpoint().positions == world.source.ends()


@pytest.mark.parametrize("length", range(20, 60, 3))
def test_runs_of_a_topic_that_was_made_anew_are_forgotten(length: int, folder: Path) -> None:
    """Killed with runs in the order log, then the topic is another: all of it is learned, in its order."""
    new = make_script(12, partitions=2, tasks=TASKS, events=90, poison=0.0)
    world = World(make_script(11, partitions=2, tasks=TASKS, events=40, poison=0.0), folder, topic_id="one")
    assert not world.live(fuse=Fuse(length))
    before = world.checkpoint().progress.events if world.store.load() else 0
    world.script, world.topic_id = new, "two"
    told: list[Outcome] = []
    assert world.live(observers=(told.append,))
    assert learned(told) == 90
    assert world.checkpoint().progress.events == before + 90


@pytest.mark.parametrize("at", [1, 3])
def test_a_topic_made_anew_while_runs_are_read_again(
    at: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was logged and is not read yet is no more; the new topic is learned whole, under its own id."""
    new = make_script(12, partitions=2, tasks=TASKS, events=90, poison=0.0)
    world = World(make_script(11, partitions=2, tasks=TASKS, events=40, poison=0.0), folder, topic_id="one")
    assert not world.live(fuse=Fuse(120))
    before = world.checkpoint().progress.events if world.store.load() else 0
    fetch, again = ScriptedSource.fetch, list[Record]()
    calls = count(1)

    def replaced(source: ScriptedSource, run: Run, waiting: Waiting = untold) -> Sequence[Record]:
        if next(calls) == at:
            source.recreate(new, "two")
            return []
        records = fetch(source, run, waiting)
        again.extend(record for record in records if record.offset >= run.first)
        return records

    monkeypatch.setattr(ScriptedSource, "fetch", replaced)
    assert world.live()
    assert next(calls) == at + 1
    assert len(again) >= at - 1
    assert world.checkpoint().progress.events == before + len(again) + 90
    assert world.checkpoint().topic_id == "two"


@pytest.mark.parametrize("while_read", [False, True])
def test_what_is_passed_is_not_passed_in_a_topic_made_anew(while_read: bool, folder: Path) -> None:
    """A record that two processes died of had this place in the old topic; in the new one it is another's."""
    old = make_script(11, partitions=1, tasks=TASKS, events=30, poison=0.0)
    new = make_script(12, partitions=1, tasks=TASKS, events=40, poison=0.0)
    world = World(old, folder, topic_id="one")
    if not while_read:
        assert world.live()
    log = OrderLog(world.folder / "order.log")
    log.append([Passed(0, 5 if while_read else 35, stage="step", died=True)])
    log.close()
    told, before = list[Outcome](), 0

    def replace_topic(outcome: Outcome) -> None:
        nonlocal before
        told.append(outcome)
        if while_read and before == 0 and learned(told) > 20 and isinstance(outcome, Turned):
            before = learned(told)
            assert world.source is not None
            world.source.recreate(new, "two")

    if not while_read:
        world.script, world.topic_id = new, "two"
    assert world.live(observers=(replace_topic,))
    assert learned(told) == before + 40


@pytest.mark.parametrize("topic_id", ["", "two"])
def test_runs_of_partitions_that_are_no_more_are_forgotten(topic_id: str, folder: Path) -> None:
    """Partitions that came after the last checkpoint, and are gone with their topic, are not waited for."""
    world = World(make_script(11, partitions=1, tasks=TASKS, events=8, poison=0.0), folder, topic_id="one")
    assert world.live()
    log = OrderLog(world.folder / "order.log")
    log.append([Run(7, 0, 30)])  # the partition was added, read, and not yet in a commit
    log.close()
    new = make_script(12, partitions=2, tasks=TASKS, events=40, poison=0.0)
    world.script, world.topic_id = new, topic_id
    told: list[Outcome] = []
    assert world.live(observers=(told.append,))
    assert learned(told) == 40
    assert world.checkpoint().positions.keys() == {0, 1}


def test_a_shorter_log_without_an_id_is_learned_whole(folder: Path) -> None:
    """Positions beyond the end of a log made anew: its partitions begin again, the old runs are gone."""
    new = make_script(12, partitions=1, tasks=TASKS, events=6, poison=0.0)
    for length in range(60, 120, 7):
        world = World(make_script(11, partitions=1, tasks=TASKS, events=50, poison=0.0), folder)
        assert not world.live(fuse=Fuse(length))
        assert world.checkpoint().positions[0] > new[-1].offset + 1
        before, world.script = world.checkpoint().progress.events, new
        assert world.live()
        assert world.checkpoint().progress.events == before + 6


def test_a_run_that_the_log_no_longer_holds_takes_no_position_along(folder: Path) -> None:
    """A log cut off within the runs to be repeated: what later stands at these offsets is learned."""
    whole = make_script(13, partitions=1, tasks=TASKS, events=40, poison=0.0)
    for length in range(30, 90, 5):
        world = World(whole, folder)
        assert not world.live(fuse=Fuse(length))
        contained = world.checkpoint().positions.get(0, 0)
        world.script = [r for r in whole if r.offset < contained + 2]
        assert world.live()
        world.script = whole
        assert world.live()
        assert world.checkpoint().progress.events == 40


def test_progress_of_a_restore_is_told(folder: Path) -> None:
    """After a crash: restoring, from 0 upwards, below 1 to its end; then 1, and no longer restoring."""
    world = World(make_script(3, partitions=1, tasks=TASKS, events=60), folder)
    assert not world.live(fuse=Fuse(40), batch=lambda: 2)
    told: list[Turned] = []
    assert world.live(observers=(lambda o: told.append(o) if isinstance(o, Turned) else None,))
    restoring = [turned.replayed for turned in told if turned.restoring]
    assert len(restoring) > 1
    assert restoring == sorted(restoring)
    assert (restoring[0], restoring[-1] < 1) == (0, True)
    assert {turned.replayed for turned in told if not turned.restoring} == {1.0}


def test_a_wait_for_dead_letters_is_told(folder: Path) -> None:
    """While the broker serves but does not acknowledge, observers hear that something is due."""
    world = World(make_script(2, partitions=1, tasks=TASKS, events=20, poison=1.0), folder, slow=True)
    told: list[Outcome] = []
    assert world.live(observers=(told.append,))
    turns = [outcome.due for outcome in told if isinstance(outcome, Turned)]
    assert True in turns
    assert not turns[0]


def test_a_state_without_a_topic_id_is_taken_over(folder: Path) -> None:
    """A state of the time before ids goes on where it was, and has the id from then on."""
    world = World(make_script(3, partitions=2, tasks=TASKS, events=20, poison=0.0), folder)
    assert world.live()
    meta = world.store.load()
    assert meta is not None
    document = json.loads(meta.document)
    del document["topic_id"]
    world.store.commit(Meta(meta.tensors, json.dumps(document).encode()), {})
    world.topic_id = "one"
    assert world.live()
    assert world.checkpoint().topic_id == "one"
    assert world.checkpoint().progress.events == 20


def test_what_holds_no_record_moves_the_position(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Markers behind the last record are passed, in the state and in the group."""

    def passed(source: ScriptedSource) -> dict[int, int]:
        ends = source.ends()
        return {p: at + 2 if at == ends[p] else at for p, at in source.at.items()}

    monkeypatch.setattr(ScriptedSource, "passed", passed)
    world = World(make_script(4, partitions=2, tasks=TASKS, events=20, poison=0.0), folder)
    assert world.live()
    meta, source = world.store.load(), world.source
    assert meta is not None
    assert source is not None
    assert source.told == unpack(meta).positions == {p: end + 2 for p, end in source.ends().items()}
