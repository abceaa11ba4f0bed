"""The loop with iterations of several events: no kill, stop, pause or redelivery changes what is one."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streammeta.codec import decode
from streammeta.errors import BadEvent, StateError
from streammeta.events import Array, Cut, OrderEntry, Record, Run, TaskEvent
from streammeta.learner.engine import Engine
from streammeta.outcomes import Checkpointed, Learned, Outcome, Refused, Turned
from streammeta.runtime.blueprint import build_blueprint, restore
from streammeta.runtime.controls import Controls
from streammeta.state.memories import Memories
from streammeta.state.order_log import OrderLog
from streammeta.state.progress import Progress
from tests.learning import learn, nothing_stored
from tests.scripted import Fuse, make_script
from tests.world import World, batches_of, blueprint, rows_of, same, stop_after

TASKS = 7


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the order logs of this module."""
    return tmp_path_factory.mktemp("batching")


def script_of(seed: int) -> list[Record]:
    """60 records with all that can go wrong in them."""
    return make_script(seed, partitions=3, tasks=TASKS, events=60, odd=0.1, wild=0.06)


@cache
def pauses_of(seed: int) -> frozenset[int]:
    """Places where the stream pauses longer than an iteration lingers."""
    return frozenset(random.Random(seed).sample(range(1, 60), 6))


@cache
def uncut(seed: int, size: int, folder: Path) -> World:
    """The world after one undisturbed life."""
    world = World(script_of(seed), folder, batches_of(size), pauses_of(seed))
    assert world.live()
    return world


def read_of(record: Record) -> TaskEvent | None:
    """The event, if it can be read."""
    try:
        return decode(record, max_bytes=10**6)
    except BadEvent:
        return None


def wild(one: TaskEvent) -> bool:
    """Whether the event was made so that the engine refuses it."""
    x: Array = one.episode.support.x
    return not bool(np.isfinite(x).all()) or bool(np.abs(x).max() > 1e100)


def iterations(script: Sequence[Record], size: int, pauses: frozenset[int]) -> Iterator[list[TaskEvent]]:
    """By plain loops: the events of each iteration, the wild ones included."""
    group: list[TaskEvent] = []
    for place, record in enumerate(script):
        if place in pauses and group:
            yield group
            group = []
        one = read_of(record)
        if one is None:
            continue
        shape = one.episode.support.x.shape
        if any(other.task == one.task or other.episode.support.x.shape != shape for other in group):
            yield group
            group = []
        group.append(one)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_the_daemon_learns_the_iterations_of_the_rules(size: int, folder: Path) -> None:
    """The state is that of the engine fed by plain loops, bit for bit; all kinds of cuts occur."""
    script = script_of(1)
    world = uncut(1, size, folder)
    learner, made = blueprint(), blueprint().network
    memories = Memories(nothing_stored, made.initial.new_zeros(learner.learner.memory_size), 100)
    engine = Engine(made, learner.steps, learner.learner.init(made.initial), Progress(), memories)
    groups = list(iterations(script, size, pauses_of(1)))
    for group in groups:
        good = [one for one in group if not wild(one)]
        if good:
            learn(engine, *good)
    assert torch.equal(world.checkpoint().state.params, engine.state.params)
    assert repr(world.checkpoint().progress) == repr(engine.progress)
    assert {task: row.memory for task, row in world.rows().items()} == {
        task: row.memory for task, row in engine.memories.dirty().rows().items() if row is not None
    }
    assert {len(group) for group in groups} >= {1, size}
    assert any(wild(one) for group in groups for one in group)
    assert len(world.dead) == len(script) - engine.progress.events
    assert [r for r in script if r in [dead for dead, _ in world.dead]] == [dead for dead, _ in world.dead]


@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_any_kills_any_redelivery_give_the_same_bits(data: st.DataObject, folder: Path) -> None:
    """Cut at any moment between any two hops, polled in any pieces, with pauses: that of the uncut run."""
    seed, size = data.draw(st.integers(0, 2), label="script"), data.draw(st.integers(1, 5), label="size")
    fuses = data.draw(st.lists(st.integers(1, 150), max_size=6), label="kills")
    draws = random.Random(data.draw(st.integers(0, 2**32), label="batches"))
    reference = uncut(seed, size, folder)
    world = World(reference.script, folder, reference.config, reference.pauses)
    assert world.live_killed(fuses, draws)
    assert same(world, reference)
    assert {r for r, _ in world.dead} == {r for r, _ in reference.dead}


@given(
    stops=st.lists(st.integers(1, 6), min_size=3, max_size=9),
    seed=st.integers(0, 2),
    size=st.integers(2, 5),
    polled=st.integers(1, 9),
)
@settings(max_examples=25, deadline=None)
def test_clean_stops_leave_an_open_iteration_to_the_restart(
    stops: list[int], seed: int, size: int, polled: int, folder: Path
) -> None:
    """SIGTERM between any two turns, also while restoring: the same bits, nothing counted twice."""
    reference = uncut(seed, size, folder)
    world = World(reference.script, folder, reference.config, reference.pauses)
    for number in [*stops, 10**6]:
        controls, count = stop_after(number, Turned)
        assert world.live(batch=lambda: polled, observers=(count,), controls=controls)
    assert same(world, reference)
    assert [r for r, _ in world.dead] == [r for r, _ in reference.dead]


def test_iterations_matter(folder: Path) -> None:
    """The comparisons can fail: another size, or other pauses, end in other bits."""
    states = [uncut(1, size, folder).checkpoint().state.params for size in (1, 2, 3)]
    other = World(script_of(1), folder, batches_of(3))
    assert other.live()
    states.append(other.checkpoint().state.params)
    assert len({params.numpy().tobytes() for params in states}) == len(states)


def told_by(world: World, controls: Controls | None = None) -> list[Outcome]:
    """Outcomes of one life."""
    told: list[Outcome] = []
    assert world.live(observers=(told.append,), controls=controls)
    return told


def test_only_what_the_records_do_not_say_is_logged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One cut for the pause and one for the end; none for full iterations and repeated tasks."""
    logged: list[OrderEntry] = []
    append = OrderLog.append

    def remembering(log: OrderLog, entries: Sequence[OrderEntry]) -> None:
        logged.extend(entries)
        append(log, entries)

    monkeypatch.setattr(OrderLog, "append", remembering)
    script = make_script(3, partitions=1, tasks=TASKS, events=20, poison=0.0)
    groups = list(iterations(script, 3, frozenset({11})))
    undisturbed = list(iterations(script, 3, frozenset()))
    assert [len(group) for group in groups] != [len(group) for group in undisturbed]
    assert len(groups[-1]) < 3
    assert World(script, folder, batches_of(3), frozenset({11})).live()
    before_cuts = [a for a, b in pairwise(logged) if isinstance(b, Cut)]
    assert [run.end for run in before_cuts if isinstance(run, Run)] == [
        script[10].offset + 1,
        script[-1].offset + 1,
    ]
    assert sum(isinstance(entry, Cut) for entry in logged) == 2


def test_a_checkpoint_never_contains_a_part_of_an_iteration(folder: Path) -> None:
    """SIGUSR1 at every record: positions committed lie only where an iteration of the uncut run ended."""
    script = make_script(4, partitions=1, tasks=TASKS, events=40, poison=0.1)
    world = World(script, folder, batches_of(4))
    controls, found = Controls(), set()

    def ask(outcome: Outcome) -> None:
        controls.checkpoint = not isinstance(outcome, Checkpointed)
        if isinstance(outcome, Checkpointed):
            found.add(world.checkpoint().progress.events)

    assert world.live(observers=(ask,), controls=controls, batch=lambda: 1)
    ends, total = {0}, 0
    for group in iterations(script, 4, frozenset()):
        total += len(group)
        ends.add(total)
    assert found == ends
    assert len(ends) < total


@pytest.mark.parametrize("size", [1, 4])
def test_a_run_that_the_log_has_lost_in_part_is_passed(size: int, folder: Path) -> None:
    """Records gone between a crash and the restart: what is left is learned, and what comes after."""
    script = make_script(4, partitions=1, tasks=TASKS, events=12, poison=0.0)
    world = World(script, folder, batches_of(size))
    killed_after_the_append = next(
        n for n in range(1, 100) if not world.live(fuse=Fuse(n), batch=lambda: 12) and log_bytes(world) > 20
    )
    assert killed_after_the_append > 1
    world.script = [*script[:3], *script[5:9]]
    assert world.live()
    assert world.checkpoint().progress.events == 7
    assert world.checkpoint().positions == {0: script[8].offset + 1}
    world.script = script
    assert world.live()
    assert world.checkpoint().progress.events == 10
    assert world.checkpoint().positions == {0: script[-1].offset + 1}


def log_bytes(world: World) -> int:
    """The size of the order log."""
    return (world.folder / "order.log").stat().st_size


def test_a_cache_is_exceeded_by_one_iteration_at_most(folder: Path) -> None:
    """Dirty rows are never evicted: the checkpoint waits for the iteration, and comes right after it."""
    script = make_script(6, partitions=1, tasks=20, events=40, poison=0.0)
    world = World(script, folder, batches_of(5))
    dirty: set[str] = set()
    most = [0]

    def count(outcome: Outcome) -> None:
        if isinstance(outcome, Checkpointed):
            dirty.clear()
        elif isinstance(outcome, Learned):
            dirty.update(outcome.tasks)
        most[0] = max(most[0], len(dirty))

    assert world.live(observers=(count,))
    assert world.config.state.cache_tasks < most[0] <= world.config.state.cache_tasks + 4
    assert set(world.rows()) == {(record.key or b"").decode() for record in script}


def test_outcomes_of_an_iteration_come_in_the_order_of_its_records(folder: Path) -> None:
    """One per record, each with its task's numbers; those of one iteration share norms."""
    world = World(script_of(2), folder, batches_of(4), pauses_of(2))
    told = told_by(world)
    learned, refused = rows_of(told), [outcome for outcome in told if isinstance(outcome, Refused)]
    assert len(learned) + len(refused) == len(world.script)
    tasks = [(record.key or b"").decode() for record in world.script if record not in dict(world.dead)]
    assert [one.task for one in learned] == tasks
    places = [(one.partition, one.offset) for one in refused]
    assert places == [(record.partition, record.offset) for record, _ in world.dead]
    assert [one.events for one in learned] == list(range(1, len(learned) + 1))
    sizes = [
        len([one for one in group if not wild(one)]) for group in iterations(world.script, 4, world.pauses)
    ]
    norms = [one.gradient_norm for one in learned]
    assert len(set(norms)) == sum(size > 0 for size in sizes) < len(norms)


def counts(world: World) -> dict[str, int]:
    """Task -> events learned."""
    return {task: row.stats.events for task, row in world.rows().items()}


def counted(script: Sequence[Record]) -> Counter[str]:
    """Task -> records."""
    return Counter((record.key or b"").decode() for record in script)


@pytest.mark.parametrize("turn", range(1, 8))
@pytest.mark.parametrize("ids", [("", ""), ("one", "two")], ids=["unknown topic ids", "known topic ids"])
def test_what_waits_of_a_topic_made_anew_is_dropped(turn: int, ids: tuple[str, str], folder: Path) -> None:
    """An open iteration is no more; the new topic is learned whole, each event once."""
    old = make_script(11, partitions=2, tasks=TASKS, events=30, poison=0.0)
    new = make_script(12, partitions=2, tasks=TASKS, events=26, poison=0.0)
    for fuse in (Fuse(), Fuse(30 + 2 * turn), Fuse(50 + 2 * turn)):
        world, turns = World(old, folder, batches_of(4), topic_id=ids[0]), [turn]
        kept: list[dict[str, int]] = []

        def replace_topic(
            outcome: Outcome,
            world: World = world,
            turns: list[int] = turns,
            kept: list[dict[str, int]] = kept,
        ) -> None:
            turns[0] -= isinstance(outcome, Turned)
            if turns[0] == 0 and world.script is old:
                assert world.source is not None
                world.script, world.topic_id = new, ids[1]
                world.source.recreate(new, ids[1])
            elif world.script is new and not kept and isinstance(outcome, Checkpointed):
                kept.append(counts(world))

        ended = world.live(observers=(replace_topic,), fuse=fuse, batch=lambda: 4)
        assert ended or world.live()
        if ended or kept:  # killed before it was told, a topic without an id is not known to be another
            assert counts(world) == dict(Counter(kept[0]) + counted(new))


@pytest.mark.parametrize("turn", range(2, 8))
@pytest.mark.parametrize("length", [None, 40, 55, 70, 90])
def test_what_waits_of_other_partitions_stays_when_one_moves(
    turn: int, length: int | None, folder: Path
) -> None:
    """The log of partition 0 has lost what was not yet read: those of partition 1 are learned once each."""
    script = make_script(13, partitions=2, tasks=TASKS, events=40, poison=0.0)
    left = [r for r in script if r.partition == 1 or r.offset >= 22]
    world, turns = World(script, folder, batches_of(4)), [turn]

    def move(outcome: Outcome) -> None:
        turns[0] -= isinstance(outcome, Turned)
        if turns[0] == 0 and world.script is script:
            assert world.source is not None
            world.script = world.source.script = left
            world.source.at[0] = 22
            world.source.moves = {0: 22}

    fuse = Fuse(length) if length else Fuse()
    assert world.live(observers=(move,), fuse=fuse, batch=lambda: 5) or world.live()
    of_other = counted([r for r in script if r.partition == 1])
    found = counts(world)
    assert {task: found[task] for task in of_other} == dict(of_other)
    assert all(found[task] >= number for task, number in counted(left).items())
    assert world.checkpoint().progress.events == sum(found.values())
    ends = {r.partition: r.offset + 1 for r in script}
    assert world.checkpoint().positions == ends


def test_another_batch_does_not_continue_a_state(folder: Path) -> None:
    """What waits in the order log would be applied in other iterations: refused with the difference."""
    with pytest.raises(
        StateError, match=r"events\.batch: the state was made with 3, the configuration says 4"
    ):
        restore(build_blueprint(batches_of(4)), uncut(1, 3, folder).store)
