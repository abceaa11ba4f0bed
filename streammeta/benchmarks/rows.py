"""What a suite is, what it is asked for, and what it gives.

A suite is a function from a plan to rows. Time is taken in `turns`; what needs a process of its own gets one
from `apart`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from streammeta.learner.executors.identity import compiler_version

Size = Literal["small", "usual", "full"]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured, and with what.

    Attributes:
        size: "small" sees that everything runs, on traced steps, and its figures mean nothing; "full" takes a
            million tasks and a million events where "usual" takes less.
        servers: A Kafka to measure with; "" for the embedded broker.
        rounds: How many are taken of each figure; 0 for what its suite holds right.
        drawings: Omniglot as an `.npz`; None for images made up, of the same shape.
    """

    size: Size = "usual"
    servers: str = ""
    rounds: int = 0
    drawings: Path | None = None

    @property
    def executor(self) -> str:
        """`engine.compile` of what is measured: compiled steps where there can be any."""
        return "require" if self.size != "small" and compiler_version() is not None else "off"

    def rounds_of(self, right: Mapping[Size, int]) -> int:
        """How many there are, `right` being what the suite holds right."""
        return self.rounds or right[self.size]

    @property
    def uncounted(self) -> int:
        """Rounds that warm up."""
        return 0 if self.size == "small" else 1


class Row(NamedTuple):
    """One figure.

    Attributes:
        name: What was measured.
        value: The median of the rounds; None where it could not be measured.
        unit: Its unit; "ratio" compares two figures of the same run, pair by pair.
        spread: First and third quartile of the rounds; None for a single one.
        rounds: How many there were.
        note: Why there is no value; else what else belongs to the figure.
    """

    name: str
    value: float | None
    unit: str
    spread: tuple[float, float] | None = None
    rounds: int = 1
    note: str = ""


Suite = Callable[[Plan], Iterator[Row]]


def absent(name: str, unit: str, why: str) -> Row:
    """A figure that this machine cannot have."""
    return Row(name, None, unit, None, 0, why)
