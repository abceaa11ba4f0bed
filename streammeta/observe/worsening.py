"""Events whose loss adaptation made much worse: the inner step is too long for them."""

from typing import Final, NamedTuple

import numpy as np

from streammeta.observe.history import Curve

LOOKED_AT_EVENTS: Final = 100
WORSE_FACTOR: Final = 10.0
WORSE_EVENTS: Final = 5
"""So many of them are trouble; a few may be odd events."""


class Worsening(NamedTuple):
    """How many of the last events adaptation made worse."""

    worse: int
    events: int


def worsening(events: Curve, since: float) -> Worsening:
    """Those of the last 100 events, learned after `since` (Unix time), with an exploding adaptation.

    An event counts when its query loss after adaptation is not finite or above 10 times that before, and
    above the mean loss before: ten times nothing is no harm.
    """
    rows = events.recent[events.recent[:, events.columns.index("seconds")] > since][-LOOKED_AT_EVENTS:]
    before, after, mean = (
        rows[:, events.columns.index(name)] for name in ("loss_meta", "loss_adapted", "fading_meta")
    )
    exploded = ~np.isfinite(after) | ((after > WORSE_FACTOR * before) & (after > mean))
    return Worsening(int((np.isfinite(before) & exploded).sum()), len(rows))
