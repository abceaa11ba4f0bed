"""Worlds run to their end, from their seeds."""

import traceback
from typing import NamedTuple

from tests.simulator.clock import Hung
from tests.simulator.edges import simulated
from tests.simulator.invariants import check, readable
from tests.simulator.journal import Violation
from tests.simulator.life import RESTART_SECONDS, live
from tests.simulator.plan import Plan, draw
from tests.simulator.world import World

MOST_LIVES = 100
"""No plan holds so many reasons to begin anew."""


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
    world, lives = World(plan), 0
    with simulated(world.broker):
        try:
            while True:
                lives += 1
                if lives > MOST_LIVES:
                    raise Hung(f"{lives} lives, and no rest")
                ending = live(world)
                world.clock.fuse.length = world.clock.fuse.length if ending != "rested" else -1
                world.clock.advance(RESTART_SECONDS)
                if ending == "rested":
                    if readable(world):
                        break
                    world.disk.restore()
                    world.deaths += len(world.journal.rows)
                    world.clock.limit_seconds = world.clock.now + 200.0
            check(world)
        except (Violation, Hung) as failure:
            return Result(lives, world.journal.applied, f"{type(failure).__name__}: {failure}")
        except Exception:  # noqa: BLE001 (whatever ends a daemon unnamed is a failure of its seed)
            return Result(lives, world.journal.applied, traceback.format_exc())
    return Result(lives, world.journal.applied, "")
