"""Whether the states of the ranks belong together, and which round they go on from."""

from collections.abc import Sequence
from typing import Protocol

from streammeta.distributed.words import Arrival
from streammeta.errors import ConfigError, StateError
from streammeta.state.standing import Standing


class Sharing(Protocol):
    """A rank's share of the topic, as `Share`."""

    rank: int
    world: int
    partitions: int


def check_own(standing: Standing, place: Sharing) -> None:
    """See that a state may be continued by this rank.

    Raises:
        StateError: it was made by another number of ranks, by another rank, or of other partitions.
    """
    if standing.world != place.world:
        raise StateError(
            f"the state was made by {_ranks(standing.world)}, this is a group of {place.world}: "
            f"streammeta state reshard --from DIR --to NEW --world {place.world} moves it"
        )
    if standing.rank != place.rank:
        raise StateError(
            f"the state is that of rank {standing.rank}, this is rank {place.rank}; put the directories back "
            "under their names"
        )
    if place.world > 1 and standing.partitions not in (0, place.partitions):
        raise StateError(
            f"the state was made with {standing.partitions} partitions of the topic, now there are "
            f"{place.partitions}: tasks are in other partitions, their memories with other ranks: "
            f"streammeta state reshard --from DIR --to NEW --world {place.world} "
            f"--partitions {place.partitions} moves them"
        )


def check_settings(arrivals: Sequence[Arrival]) -> None:
    """See that all ranks were started with the same settings.

    Raises:
        ConfigError: one was not.
    """
    other = [rank for rank, arrival in enumerate(arrivals) if arrival.settings != arrivals[0].settings]
    if other:
        raise ConfigError(
            f"rank {other[0]} was started with other settings than rank 0 (of what a state depends on, or of "
            "[distributed]); give all ranks the same file"
        )


def newest_round(arrivals: Sequence[Arrival]) -> int:
    """The newest round that any rank has united in; all others have closed it, and take its mean.

    Raises:
        StateError: a rank has not: its state was lost, or put back to an earlier one.
    """
    newest = max(arrival.standing.united for arrival in arrivals)
    short = [rank for rank, arrival in enumerate(arrivals) if arrival.standing.closed < newest]
    if short:
        rank = short[0]
        raise StateError(
            f"the states of the ranks do not belong together: rank {rank} has closed round "
            f"{arrivals[rank].standing.closed:,}, others have united in round {newest:,}; restore copies of "
            "one round for all ranks, or begin anew in another state.dir"
        )
    return newest


def leader(arrivals: Sequence[Arrival]) -> int | None:
    """The first rank that has the mean of the newest round, when another lacks it; None when none does."""
    newest = newest_round(arrivals)
    united = [arrival.standing.united == newest for arrival in arrivals]
    return None if all(united) else united.index(True)


def _ranks(world: int) -> str:
    return "a single process" if world == 1 else f"a group of {world}"
