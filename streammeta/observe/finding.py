"""What a finding is, and what it is found in; durations and times as a person reads them."""

from datetime import UTC, datetime
from typing import Literal, NamedTuple

from streammeta.observe.history import View
from streammeta.observe.snapshot import Snapshot
from streammeta.observe.track import Numbers


class Trouble(NamedTuple):
    """One finding.

    Attributes:
        code: no_broker, refused, throttled, transaction_open, leaderless, stalled, lag_growing, loss_rising,
            adaptation_worse, non_finite, checkpoint_stale, quarantined, dead_letters, unmatched; of
            challengers challenger_failed, challenger_stuck, challenger_died or challenger_behind.
        level: Whether learning has stopped or is at risk (error), or somebody should look (warning).
        text: What is so.
        remedy: What to do.
    """

    code: str
    level: Literal["error", "warning"]
    text: str
    remedy: str


class Case(NamedTuple):
    """What is judged.

    Attributes:
        status: The daemon now.
        history: What it folded.
        now: Unix time.
        checkpoint_seconds: The setting.
    """

    status: Snapshot
    history: View
    now: float
    checkpoint_seconds: float

    def last(self, seconds: float) -> dict[str, Numbers]:
        """The columns of the rows of the last seconds; empty when the rows do not reach that far back."""
        curve = self.history.time
        rows = curve.recent
        at = rows[:, curve.columns.index("seconds")]
        inside = rows[at > self.now - seconds]
        reaches = len(at) and at[0] <= self.now - 0.9 * seconds
        return dict(zip(curve.columns, (inside if reaches else rows[:0]).T, strict=True))


def trailing_seconds(case: Case, name: str, value: float) -> float:
    """How long the last rows have had this value."""
    curve = case.history.time
    column, at = (curve.recent[:, curve.columns.index(each)] for each in (name, "seconds"))
    others = at[column != value]
    if len(others):
        return float(case.now - others[-1])
    return float(case.now - at[0]) if len(at) else 0.0


def clock_time(at: float) -> str:
    """A time of day.

    >>> clock_time(0.0)
    '00:00:00 UTC'
    """
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S UTC")


def span(seconds: float) -> str:
    """A duration for people.

    >>> span(42), span(125), span(7300)
    ('42 s', '2 min', '2 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.0f} h"
