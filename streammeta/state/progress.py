"""How far a state came: what it counts over its life, beside its tensors."""

from typing import NamedTuple

from streammeta.evaluation.drift import BEGUN, Series
from streammeta.evaluation.prequential import Prequential


class Progress(NamedTuple):
    """How far the stream was learned: part of the state.

    Attributes:
        events: Events learned.
        prequential: Fading means over them.
        drift: Whether the stream's losses got worse.
    """

    events: int = 0
    prequential: Prequential = Prequential()
    drift: Series = BEGUN


class Tally(NamedTuple):
    """Counts over the life of a state.

    Attributes:
        records: Records taken.
        expired: Tasks whose examples were dropped before they made an episode.
        unmatched: Halves whose other half did not come in time, or that another one of the same id replaced.
        unlearned: Records that the model refused before anything was learned.
    """

    records: int = 0
    expired: int = 0
    unmatched: int = 0
    unlearned: int = 0

    def plus(self, other: "Tally", records: int = 0) -> "Tally":
        """The sums, and so many more records."""
        return Tally(
            self.records + other.records + records,
            self.expired + other.expired,
            self.unmatched + other.unmatched,
            self.unlearned + other.unlearned,
        )


NOTHING = Tally()
