"""Whether the states of the ranks belong together, and which round they go on from."""

from collections.abc import Sequence

from streammeta.distributed.words import Arrival
from streammeta.errors import ConfigError, StateError


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
