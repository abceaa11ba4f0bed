"""Single examples through the loop: any sequence, any kills, any redelivery give the same episodes."""

import random
from collections import Counter
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streammeta.config import Config
from streammeta.episodes.cutter import Sizes
from streammeta.errors import Reason
from streammeta.learner.engine import Engine
from streammeta.outcomes import Expired, Learned, Outcome, Refused, Skipped, Turned
from streammeta.state.memories import Memories
from streammeta.state.progress import Progress, Tally
from tests.example_streams import Answer, make_examples, queries
from tests.learning import learn, nothing_stored
from tests.world import CONFIG, World, blueprint, rows_of, same, stop_after

TASKS = 7
RECORDS = 120
TASK_BOUND, HALF_BOUND = 25, 20
SEEDS = st.integers(0, 2**32)
SIZES = [Sizes(2, 1, 1), Sizes(2, 1, 2), Sizes(2, 1, 3)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the order logs of this module."""
    return tmp_path_factory.mktemp("examples")


def config_of(sizes: Sizes, batch: int = 1, **bounds: int) -> Config:
    """The configuration of the world, with episodes cut from examples."""
    table = {
        "kind": "examples",
        **sizes._asdict(),
        "expire_after_events": TASK_BOUND,
        "label_wait_events": HALF_BOUND,
        "batch": batch,
        **bounds,
    }
    return Config.model_validate({**CONFIG.model_dump(exclude_unset=True), "events": table})


@lru_cache(maxsize=16)
def uncut(seed: int, sizes: Sizes, batch: int, folder: Path) -> World:
    """The world after one undisturbed life."""
    script = make_examples(seed, partitions=3, tasks=TASKS, records=RECORDS)
    pauses = frozenset(random.Random(seed).sample(range(1, RECORDS), 6))
    world = World(script, folder, config_of(sizes, batch), pauses)
    assert world.live()
    return world


@given(seed=SEEDS, sizes=st.sampled_from(SIZES))
@settings(max_examples=16, deadline=None)
def test_the_daemon_learns_the_episodes_of_the_rules(seed: int, sizes: Sizes, folder: Path) -> None:
    """Bit for bit those of the engine fed by plain loops; no example is twice in a query set."""
    world = uncut(seed, sizes, 1, folder)
    answer = Answer(sizes, TASK_BOUND, HALF_BOUND).read(world.script)
    learner, made = blueprint(), blueprint().network
    memories = Memories(nothing_stored, made.initial.new_zeros(learner.learner.memory_size), 100)
    engine = Engine(made, learner.steps, learner.learner.init(made.initial), Progress(), memories)
    for event in answer.events:
        learn(engine, event)
    assert torch.equal(world.checkpoint().state.params, engine.state.params)
    assert repr(world.checkpoint().progress) == repr(engine.progress)
    assert [record for record, _ in world.dead] == [world.script[place] for place in answer.refused]
    assert (
        world.checkpoint().tally.unmatched == answer.unmatched
    )  # the last record sweeps: RECORDS % HALF_BOUND
    assert set(Counter(queries(answer.events)).values()) == {1}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_all_kinds_of_records_occur(seed: int, folder: Path) -> None:
    """The streams of this module hold what they shall be proof against."""
    told: list[Outcome] = []
    world = World(uncut(seed, SIZES[0], 1, folder).script, folder, config_of(SIZES[0]))
    assert world.live(observers=(told.append,))
    reasons = {outcome.reason for outcome in told if isinstance(outcome, Refused)}
    assert reasons >= {Reason.UNDECODABLE, Reason.SHAPE_MISMATCH}
    assert {type(outcome) for outcome in told} >= {Learned, Skipped, Refused, Expired}
    tally = world.checkpoint().tally
    expired = [outcome for outcome in told if isinstance(outcome, Expired)]
    assert tally == Tally(
        RECORDS, sum(outcome.tasks for outcome in expired), sum(outcome.halves for outcome in expired)
    )
    assert tally.unmatched > 0
    assert len(rows_of(told)) > RECORDS / 3


@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_any_batches_any_kills_any_redelivery_give_the_same_episodes(
    data: st.DataObject, folder: Path
) -> None:
    """Cut at any moment, polled in any pieces, with iterations of any size: the state of the uncut run."""
    seed, batch = data.draw(SEEDS, label="script"), data.draw(st.integers(1, 4), label="batch")
    sizes = data.draw(st.sampled_from(SIZES), label="sizes")
    fuses = data.draw(st.lists(st.integers(1, 250), max_size=6), label="kills")
    draws = random.Random(data.draw(st.integers(0, 2**32), label="pieces"))
    reference = uncut(seed, sizes, batch, folder)
    world = World(reference.script, folder, reference.config, reference.pauses)
    assert world.live_killed(fuses, draws)
    assert same(world, reference)
    assert {r for r, _ in world.dead} == {r for r, _ in reference.dead}


@given(
    stops=st.lists(st.integers(1, 12), min_size=1, max_size=5),
    seed=SEEDS,
    batch=st.integers(1, 4),
)
@settings(max_examples=10, deadline=None)
def test_clean_stops_give_the_same_episodes(stops: list[int], seed: int, batch: int, folder: Path) -> None:
    """SIGTERM at any turn: what a buffer holds goes on where it was."""
    reference = uncut(seed, SIZES[0], batch, folder)
    world = World(reference.script, folder, reference.config, reference.pauses)
    for number in [*stops, 10**6]:
        controls, count = stop_after(number, Turned)
        assert world.live(observers=(count,), controls=controls)
    assert same(world, reference)
