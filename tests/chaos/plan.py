"""What is done to a run, and when: all of it from one seed."""

import random
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

What = Literal["kill", "kill in a checkpoint", "kill at the start", "kill at a switch", "broker killed",
               "broker frozen", "cut", "rotation"]  # fmt: skip
How = Literal["plain", "committed", "aborted"]

KILLS: Final[dict[What, tuple[float, float]]] = {
    "kill": (0.55, 0.0),
    "kill in a checkpoint": (0.25, 0.02),
    "kill at the start": (0.2, 1.0),
}
"""Of those that are not at a switch: their share, and seconds after their moment at most."""
LEAD_RECORDS: Final = 400
"""Records that wait for the daemon when something is done to it: it is at work, and its buffers are full."""


class Size(NamedTuple):
    """How large a run is.

    Attributes:
        records: Good ones and poison.
        shapes: Shapes of episode, one after the other: at the first event of each, compiled steps take over.
        freeze_seconds: Shortest and longest.
        transactions: Committed ones; half as many more are aborted.
    """

    records: int
    kills: int
    shapes: int
    broker_kills: int
    freezes: int
    freeze_seconds: tuple[float, float]
    cuts: int
    rotations: int
    transactions: int


LONG: Final = Size(20_000, 100, 3, 5, 5, (10.0, 60.0), 50, 1, 40)
SHORT: Final = Size(1_200, 6, 1, 1, 1, (8.0, 8.0), 4, 1, 6)


class Deed(NamedTuple):
    """One thing that is done.

    Attributes:
        at: When so many records were taken, about.
        seconds: How long it lasts; of a kill, how long after its moment it comes.
        bytes: Of a cut: how many more may pass before it.
    """

    at: int
    what: What
    seconds: float = 0.0
    bytes: int = 0


class Block(NamedTuple):
    """Records `first` up to, not with, `end`, and how they are sent; what is aborted is sent again."""

    first: int
    end: int
    how: How


def deeds(size: Size, seed: int) -> list[Deed]:
    """In the order of their moments; spread over the run, but for the kills at switches."""
    draws = random.Random(f"deeds {seed}")
    return sorted([*_kills(size, draws), *_faults(size, draws)])


def blocks(size: Size, seed: int) -> list[Block]:
    """How the records are sent, in order: plain ones between transactions."""
    draws = random.Random(f"blocks {seed}")
    aborted = size.transactions // 2
    counts: dict[How, int] = {"committed": size.transactions, "aborted": aborted, "plain": size.transactions}
    hows = [how for how, count in counts.items() for _ in range(count)]
    draws.shuffle(hows)
    bounds = sorted(draws.sample(range(1, size.records), len(hows) - 1))
    return [Block(*at, how) for at, how in zip(_between(bounds, size.records), hows, strict=True)]


def shape_of(size: Size, record: int) -> int:
    """Which shape this record's episode has."""
    return record * size.shapes // size.records


def _between(bounds: list[int], end: int) -> Iterator[tuple[int, int]]:
    return zip([0, *bounds], [*bounds, end], strict=True)


def _kills(size: Size, draws: random.Random) -> Iterator[Deed]:
    at_switches = size.kills // 10 if size.shapes > 1 else 0
    for number in range(at_switches):
        begin = number % size.shapes * size.records // size.shapes
        yield Deed(begin + 5 * number, "kill at a switch", draws.uniform(0, 0.1))
    left = size.kills - at_switches
    for number in range(left):
        (what,) = draws.choices([*KILLS], [share for share, _ in KILLS.values()])
        yield Deed(_moment(number, left, size, draws), what, draws.uniform(0, KILLS[what][1]))


def _faults(size: Size, draws: random.Random) -> Iterator[Deed]:
    for number in range(size.broker_kills):
        yield Deed(_moment(number, size.broker_kills, size, draws), "broker killed", draws.uniform(0, 3))
    for number in range(size.freezes):
        seconds = draws.uniform(*size.freeze_seconds)
        yield Deed(_moment(number, size.freezes, size, draws), "broker frozen", seconds)
    for number in range(size.cuts):
        yield Deed(_moment(number, size.cuts, size, draws), "cut", 0.0, draws.randrange(1, 60_000))
    for number in range(size.rotations):
        yield Deed(_moment(number, size.rotations, size, draws), "rotation")


def _moment(number: int, count: int, size: Size, draws: random.Random) -> int:
    """Somewhere in this part of `count` equal ones; never so late that nothing is left to be done after."""
    end = size.records - LEAD_RECORDS // 2
    return draws.randrange(number * end // count, (number + 1) * end // count)
