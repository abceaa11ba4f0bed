"""Several worlds, one a rank, that learn together: their lives are threads, cut when one is killed."""

import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch

from streammeta.config import Config
from streammeta.errors import GroupLost
from streammeta.events import Record
from streammeta.outcomes import Outcome
from tests.contracts.group import side_by_side
from tests.distributed.meeting import Meeting
from tests.scripted import Fuse, make_script
from tests.world import CONFIG, World, same


def config_of(round_events: int, **settings: object) -> Config:
    """The worlds' configuration, with rounds of so many records."""
    policy = CONFIG.distributed.model_copy(update={"round_events": round_events, **settings})
    return CONFIG.model_copy(update={"distributed": policy})


def worlds_of(script: Sequence[Record], world: int, folder: Path, config: Config) -> list[World]:
    """A world for each rank, with the partitions that are its own."""
    return [
        World([r for r in script if r.partition % world == rank], folder, config) for rank in range(world)
    ]


@cache
def traced(folder: Path) -> None:
    """Have the step of the worlds' learner traced: threads that trace at once refuse each other's records."""
    assert World(make_script(0, partitions=1, tasks=2, events=4, poison=0.0), folder).live()


def live(
    worlds: Sequence[World],
    fuses: Sequence[int] = (),
    seed: int = 0,
    *,
    meeting: Meeting | None = None,
    told: Sequence[list[Outcome]] = (),
) -> bool:
    """One life of all; False when one of them was killed. Errors of a rank are raised.

    `meeting`: where they meet; `told`: takes what each one's observers are told.
    """
    traced(worlds[0].base)
    meeting, ended = meeting or Meeting(len(worlds)), [False] * len(worlds)

    def live_one(rank: int) -> None:
        draws = random.Random(1000 * seed + rank)
        fuse = Fuse(fuses[rank] if rank < len(fuses) else -1)
        try:
            ended[rank] = worlds[rank].live(
                fuse=fuse,
                batch=lambda: draws.randint(1, 9),
                redeliver=lambda: draws.randint(0, 3),
                looks=lambda: draws.choice((0, 1, 3)),
                observers=(told[rank].append,) if told else (),
                group=meeting.member(rank),
            )
        except GroupLost:
            pass
        finally:
            if not ended[rank]:
                meeting.lose()

    side_by_side(len(worlds), live_one)
    return all(ended)


def alike(some: Sequence[World], others: Sequence[World]) -> bool:
    """Whether each rank's state holds the same bits."""
    return all(same(one, other) for one, other in zip(some, others, strict=True))


def in_step(worlds: Sequence[World]) -> bool:
    """Whether all ranks ended at the same meta-state, to the bit."""
    first, *others = [world.checkpoint().state for world in worlds]
    return all(
        torch.equal(first.params, other.params)
        and torch.equal(first.outer["momentum"], other.outer["momentum"])
        for other in others
    )


def copies(worlds: Sequence[World]) -> list[World]:
    """Worlds with the same scripts, and nothing learned."""
    return [World(world.script, world.base, world.config) for world in worlds]
