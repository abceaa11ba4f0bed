"""One meta-state of all ranks: that of the round which ended last, or the mean that ends the open one.

Within a round no rank hears of another, so the round may be closed wherever each rank stands: what they have
learned since they united weighs as at its end. Only a rank that lacks the last mean, and has not closed the
round that it belongs to, cannot be taken along.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from streammeta.algorithms.base import Merge, State
from streammeta.algorithms.merging import counts_of, largest, mean_state, numbers_of, shares
from streammeta.distributed.agreement import newest_round
from streammeta.distributed.resharding.sources import Former
from streammeta.distributed.words import Arrival
from streammeta.errors import StateError
from streammeta.state.checkpoint import unpack_state
from streammeta.state.standing import Standing


class Unison(NamedTuple):
    """What all new ranks begin with.

    Attributes:
        state: The meta-state.
        round: The round that it ends; 0 where there never was a group.
        weights: What each old rank weighs in it; none where their states were equal.
    """

    state: State
    round: int
    weights: Sequence[float]


def united(origins: Sequence[Former], merge: Merge | str) -> Unison:
    """The meta-state of these ranks.

    Raises:
        StateError: they do not belong to one round, or states of this algorithm cannot unite.
    """
    standings = [origin.checkpoint.standing or Standing(0, 1) for origin in origins]
    if len(origins) == 1:
        return Unison(origins[0].checkpoint.state, standings[0].closed, ())
    if isinstance(merge, str):
        raise StateError(f"the states of these ranks cannot unite, for {merge}")
    newest = newest_round(
        [
            Arrival(standing, "", origin.checkpoint.progress.events)
            for standing, origin in _zip(standings, origins)
        ]
    )
    mean = next(
        origin.kept.mean for standing, origin in _zip(standings, origins) if standing.united == newest
    )
    states = [
        _caught_up(origin, mean, merge) if standing.united < newest else origin.checkpoint.state
        for standing, origin in _zip(standings, origins)
    ]
    ends = max(standing.closed for standing in standings)
    if all(_equal(states[0], state) for state in states):
        return Unison(states[0], ends, ())
    learned = [_learned(standing, origin, newest) for standing, origin in _zip(standings, origins)]
    weights = shares(learned if any(learned) else [1] * len(states))
    numbers = torch.stack([w * numbers_of(state) for w, state in zip(weights, states, strict=True)]).sum(0)
    whole = mean_state(states[0], numbers, largest([counts_of(state) for state in states]))
    return Unison(merge(states[0], whole), max(ends, newest + 1), weights)


def check_can_part(merge: Merge | str, world: int) -> None:
    """See that so many ranks can learn by the algorithm.

    Raises:
        StateError: they cannot.
    """
    if world > 1 and isinstance(merge, str):
        raise StateError(f"--world {world}: several ranks cannot learn by this algorithm, for {merge}")


def _zip(standings: Sequence[Standing], origins: Sequence[Former]) -> list[tuple[Standing, Former]]:
    return [*zip(standings, origins, strict=True)]


def _caught_up(origin: Former, mean: bytes, merge: Merge) -> State:
    """The state once it has the mean that it lacks."""
    own = origin.checkpoint.state
    if not mean:
        return own
    sent = unpack_state(origin.kept.sent) if origin.kept.sent else own
    if _equal(own, sent):
        return merge(own, unpack_state(mean))
    return own._replace(params=own.params + (unpack_state(mean).params - sent.params))


def _learned(standing: Standing, origin: Former, newest: int) -> int:
    """Events since the mean of the newest round, which the rank has or was given."""
    since = origin.checkpoint.progress.events - standing.events
    return since + (standing.weight if standing.closed > newest else 0)


def _equal(one: State, two: State) -> bool:
    return counts_of(one) == counts_of(two) and torch.equal(numbers_of(one), numbers_of(two))
