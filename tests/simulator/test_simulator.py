"""Worlds end well, replay exactly, and show each planted bug. `make simulate` runs as many as wanted."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.simulator import command
from tests.simulator.bugs import BUGS, planted
from tests.simulator.edges import simulated
from tests.simulator.life import live
from tests.simulator.plan import draw
from tests.simulator.run import run
from tests.simulator.world import World

SEEDS = 150
"""Of the gate: some ten seconds."""
AT_ONCE = 15
"""Worlds of one test."""

FOUND_BY: dict[str, int] = {
    "unsynced write": 15,
    "commit before the letters": 10,
    "cut not logged": 2,
    "order log entry dropped": 19,
    "runs logged after they were applied": 41,
    "order log forgets before the commit": 10,
    "position passes an open iteration": 70,
    "position not passed over markers": 0,
    "lag from stale ends": 0,
    "health from an old answer": 31,
    "letter sent twice": 24,
    "failed letter counts as written": 26,
    "wait without an end": 107,
    "rows written after the positions": 13,
    "resume at the wrong offset": 1,
    "executor switch not logged": 208,
    "withheld records given up at once": 236,
    "withheld records passed in silence": 0,
    "topic made again unseen": 511,
    "runs read from another topic": 418_277,
}
"""A seed that shows each bug."""

FAILED_ONCE = (20_809, 101_838, 318_833, 418_277)
"""They found a record passed for one of a former topic, and records given up as withheld by a
broker that had been away meanwhile; a daemon that read its runs again by a client which a refused login
had silenced for good; and one that read them from a topic made in place of theirs."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What thousands of daemons have to say is not said."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.configure(**before)


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_worlds_end_well(first: int) -> None:
    """Exactly once, the same bits, nothing lost, health and lag true, no wait without an end."""
    failures = {seed: run(seed).failure for seed in range(first, first + AT_ONCE)}
    assert not {f"seed {seed}: {failure}\n{draw(seed)}" for seed, failure in failures.items() if failure}


@pytest.mark.parametrize("seed", FAILED_ONCE)
def test_what_failed_once_ends_well(seed: int) -> None:
    """As any other world."""
    assert not run(seed).failure


def test_a_seed_replays_exactly(tmp_path: Path) -> None:
    """Twice the same lives, the same iterations at the same virtual time, the same letters."""

    def story(seed: int) -> tuple[object, ...]:
        world = World(draw(seed), tmp_path)
        with simulated(world.broker):
            endings = [live(world) for _ in range(3)]
        rows = [row.records for row in world.journal.rows]
        return endings, world.clock.now, rows, world.broker.letters, world.disk.content

    stories = [story(seed) for seed in (3, 21, 48)]
    assert [story(seed) for seed in (3, 21, 48)] == stories
    assert len({str(one) for one in stories}) == 3


def test_every_bug_has_its_seed() -> None:
    """The table names them all."""
    assert set(FOUND_BY) == set(BUGS)


@pytest.mark.parametrize("bug", FOUND_BY)
def test_a_planted_bug_is_found(bug: str) -> None:
    """The seed fails with it, and not without."""
    seed = FOUND_BY[bug]
    with planted(bug):
        assert run(seed).failure
    assert not run(seed).failure


def test_a_failing_seed_is_printed_with_its_plan(capsys: pytest.CaptureFixture[str]) -> None:
    """What is needed to run it again; the exit status counts it."""
    seed = FOUND_BY["letter sent twice"]
    assert command.simulate(range(seed, seed + 1), "letter sent twice", 1) == 1
    printed = capsys.readouterr().out
    assert f"seed {seed} fails: Violation: a letter was written" in printed
    assert str(draw(seed)) in printed
    assert "1 failing" in printed
