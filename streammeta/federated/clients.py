"""The clients of a simulation: sine waves, or alphabets of Omniglot.

What a client has in a round is a function of the seed, the client and the round: a round that is made again
finds the same data.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from streammeta.datasets.omniglot import Drawings, Split, tasks_of
from streammeta.datasets.omniglot_data import load_drawings
from streammeta.errors import ConfigError
from streammeta.events import Array, Batch, Episode

if TYPE_CHECKING:
    from flwr.app import Context

Kind = Literal["sinewave", "omniglot"]

AMPLITUDE: Final = (1.0, 5.0)
PHASE: Final = (math.pi / 5, math.pi)
X: Final = (-5.0, 5.0)
ADAPTATION_POINTS, TEST_POINTS = 10, 100
TEST_DRAWINGS: Final = 5
"""Drawings of each character that no round learns from: the last ones."""
_WAVE, _TEST = -1, -2
"""In a round's place in the seed: the client's wave; its test set."""


@dataclass(frozen=True, slots=True)
class Cuts:
    """How large a client's sets are in a round.

    Attributes:
        initial: K0, of S0.
        shots: K, of each S1 and of each S3; with classes, of each class.
        steps: H.
    """

    initial: int
    shots: int
    steps: int


@dataclass(frozen=True, slots=True)
class Wave:
    """A client that sees a sine wave y = A sin(x + φ), A ~ U(1, 5), φ ~ U(π/5, π), x ~ U(−5, 5)."""

    name: str
    trains: bool
    seed: tuple[int, int]
    cuts: Cuts

    def learn(self, number: int) -> Episode[Array]:
        """K0 + HK points to adapt on, HK to be judged on."""
        cuts, random = self.cuts, self._random(number)
        support = self._points(random, cuts.initial + cuts.steps * cuts.shots)
        return Episode(support, self._points(random, cuts.steps * cuts.shots))

    def test(self) -> Episode[Array]:
        """10 points to personalise on, 100 to be judged on."""
        random = self._random(_TEST)
        return Episode(self._points(random, ADAPTATION_POINTS), self._points(random, TEST_POINTS))

    def _points(self, random: np.random.Generator, count: int) -> Batch[Array]:
        wave = self._random(_WAVE)
        amplitude, phase = wave.uniform(*AMPLITUDE), wave.uniform(*PHASE)
        x = random.uniform(*X, (count, 1))
        return Batch(x.astype(np.float32), (amplitude * np.sin(x + phase)).astype(np.float32))

    def _random(self, place: int) -> np.random.Generator:
        return np.random.default_rng([*self.seed, place + 2])


@dataclass(frozen=True, slots=True)
class Waves:
    """Clients `sinewave/0` and up; those from `training` on take no part in rounds."""

    training: int
    cuts: Cuts
    seed: int

    def __call__(self, context: "Context") -> Wave:
        """The client of a simulated node."""
        return self.client(int(context.node_config["partition-id"]))

    def client(self, place: int) -> Wave:
        """The client at this place."""
        return Wave(f"sinewave/{place}", place < self.training, (self.seed, place), self.cuts)


@dataclass(frozen=True, slots=True)
class Alphabet:
    """A client that has an alphabet: it tells its first characters apart, the same at every round."""

    name: str
    trains: bool
    images: Array
    seed: tuple[int, int]
    cuts: Cuts

    def learn(self, number: int) -> Episode[Array]:
        """S0, and for each step K drawings of each character in S1 and in S3; no drawing is in both."""
        cuts, random = self.cuts, np.random.default_rng([*self.seed, number])
        known = self.images[:, :-TEST_DRAWINGS]
        initial = _some(known, random, cuts.initial)
        pieces = [_some(known, random, 2 * cuts.shots) for _ in range(cuts.steps)]
        sides = [[_side(piece, part, cuts.shots) for piece in pieces] for part in (0, 1)]
        return Episode(_joined([_side(initial, 0, cuts.initial), *sides[0]]), _joined(sides[1]))

    def test(self) -> Episode[Array]:
        """One drawing of each character to personalise on; those to be judged on no round learns from."""
        return Episode(
            _side(self.images[:, :1], 0, 1), _side(self.images[:, -TEST_DRAWINGS:], 0, TEST_DRAWINGS)
        )


@dataclass(frozen=True, slots=True)
class Alphabets:
    """Clients that are background alphabets; from `training` on evaluation alphabets, tested alone."""

    data: Path | None
    training: int
    ways: int
    cuts: Cuts
    seed: int

    def __call__(self, context: "Context") -> Alphabet:
        """The client of a simulated node."""
        return self.client(int(context.node_config["partition-id"]))

    def client(self, place: int) -> Alphabet:
        """The client at this place.

        Raises:
            ConfigError: the drawings cannot be read.
        """
        trains = place < self.training
        split: Split = "background" if trains else "evaluation"
        found = _alphabets(self.data, split, self.ways)
        name, images = found[place if trains else place - self.training]
        return Alphabet(name, trains, images, (self.seed, place), self.cuts)

    def check(self, testing: int) -> None:
        """See that there are so many.

        Raises:
            ConfigError: there are not, or a client has too few drawings for a round.
        """
        wanted_of: dict[Split, int] = {"background": self.training, "evaluation": testing}
        for split, wanted in wanted_of.items():
            there = len(_alphabets(self.data, split, self.ways)) if wanted else 0
            if wanted > there:
                raise ConfigError(f"{wanted} clients: the {split} split has {there} alphabets; take fewer")
        drawings = _alphabets(self.data, "background", self.ways)[0][1].shape[1] - TEST_DRAWINGS
        if max(2 * self.cuts.shots, self.cuts.initial) > drawings:
            raise ConfigError(
                f"--shots {self.cuts.shots}: a step takes twice as many drawings of a character, and "
                f"there are {drawings} to learn from; take fewer"
            )


@lru_cache(maxsize=4)
def _alphabets(data: Path | None, split: Split, ways: int) -> list[tuple[str, Array]]:
    """Each alphabet with its first `ways` characters: uint8 (ways, drawings, 28, 28)."""
    drawings: Drawings = load_drawings(data, split)
    return [
        (task.removesuffix("/0"), drawings.images[characters])
        for task, characters in tasks_of(drawings, ways).items()
        if task.endswith("/0")
    ]


def _some(images: Array, random: np.random.Generator, count: int) -> Array:
    """So many drawings of each character, without replacement: (ways, count, 28, 28)."""
    order = np.tile(np.arange(images.shape[1]), (len(images), 1))
    drawn = random.permuted(order, axis=1)[:, :count]
    chosen: Array = images[np.arange(len(images))[:, None], drawn]
    return chosen


def _side(images: Array, part: int, count: int) -> Batch[Array]:
    """The first or the second `count` drawings of each character, as examples."""
    chosen = images[:, part * count : (part + 1) * count]
    x = chosen.reshape(-1, 1, *chosen.shape[2:])
    return Batch(x, np.repeat(np.arange(len(images), dtype=np.int64), chosen.shape[1]))


def _joined(batches: list[Batch[Array]]) -> Batch[Array]:
    return Batch(
        np.concatenate([batch.x for batch in batches]), np.concatenate([batch.y for batch in batches])
    )
