"""The group of ranks that a daemon learns in: this part of its status."""

from typing import TypedDict

from streammeta.outcomes import Awaiting, RankView, United


class Rank(TypedDict):
    """A rank as it told of itself at the end of the last round.

    `weight` is the number of events that it learned in the round, `distance` how far its meta-parameters were
    from the mean at the end of the round before.
    """

    rank: int
    events: int
    lag: int | None
    weight: int
    distance: float
    ended: bool


class Group(TypedDict):
    """A rank's group. `waiting_for` names ranks that have not closed the round yet, while this one has.

    `weight` (0 to 1) and `distance` are this rank's in the last round, `waited_seconds` and
    `exchange_seconds` what its end took, `sent_bytes` what was handed over.
    """

    rank: int
    round: int
    waiting_for: list[int]
    weight: float
    distance: float
    waited_seconds: float
    exchange_seconds: float
    sent_bytes: int
    ranks: list[Rank]


def group_of(united: United | None, awaiting: Awaiting | None) -> Group | None:
    """As of the last round; None before its end, and without a group."""
    if united is None:
        return None
    return {
        "rank": united.rank,
        "round": united.round,
        "waiting_for": [] if awaiting is None else [*awaiting.ranks],
        "weight": united.weight,
        "distance": united.distance,
        "waited_seconds": united.waited_seconds,
        "exchange_seconds": united.seconds,
        "sent_bytes": united.bytes,
        "ranks": [_rank(number, view) for number, view in enumerate(united.ranks)],
    }


def _rank(number: int, view: RankView) -> Rank:
    return {
        "rank": number,
        "events": view.events,
        "lag": view.lag,
        "weight": view.weight,
        "distance": view.distance,
        "ended": view.ended,
    }
