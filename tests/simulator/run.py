"""Worlds run to their end, from their seeds."""

import traceback
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tests.simulator.clock import Hung
from tests.simulator.edges import simulated
from tests.simulator.invariants import check, readable
from tests.simulator.journal import Violation
from tests.simulator.life import RESTART_SECONDS, live
from tests.simulator.plan import Plan, draw
from tests.simulator.world import PATIENCE_SECONDS, World

MOST_LIVES = 100
"""No plan holds so many reasons to begin anew."""


_MEMORY = Path("/dev/shm")  # noqa: S108 (a directory of its own is made there; a recorder syncs often)


class Result(NamedTuple):
    """What came of a world.

    Attributes:
        lives: How often the daemon was started.
        events: How many records were applied, once or again.
        failure: The invariant that does not hold, in words; "" when all do.
    """

    lives: int
    events: int
    failure: str


def run(seed: int) -> Result:
    """The world of this seed."""
    return run_plan(draw(seed))


def run_plan(plan: Plan) -> Result:
    """The world of this plan."""
    with TemporaryDirectory(dir=_MEMORY if _MEMORY.exists() else None) as directory:
        world = World(plan, Path(directory) / "recording")
        return _result_of(world)


def _result_of(world: World) -> Result:
    with simulated(world.broker):
        try:
            _live_on(world)
            check(world)
        except (Violation, Hung) as failure:
            return _result(world, f"{type(failure).__name__}: {failure}")
        except Exception:  # noqa: BLE001 (whatever ends a daemon unnamed is a failure of its seed)
            return _result(world, traceback.format_exc())
    return _result(world, "")


def _result(world: World, failure: str) -> Result:
    return Result(world.lives, world.journal.applied, failure)


def _live_on(world: World) -> None:
    """Lives until the world has come to rest with a state that can be read."""
    while world.lives < MOST_LIVES:
        world.lives += 1
        ending = live(world)
        if ending == "rested":
            world.fuse.length = world.clock.writes.length = -1
        world.clock.advance(RESTART_SECONDS)
        if ending == "rested":
            if readable(world):
                return
            world.restore()
            world.clock.limit_seconds = world.clock.now + PATIENCE_SECONDS
    raise Hung(f"{world.lives} lives, and no rest")
