"""Omniglot as a stream of N-way K-shot tasks: a task is a fixed group of N characters of one alphabet.

Pure: no I/O; the n-th event is a function of the drawings, the settings and n.
Source: Lake, Salakhutdinov, Tenenbaum 2015, Science 350:1332; N-way K-shot as in Vinyals et al. 2016.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from streammeta.datasets.event_random import event_generators
from streammeta.errors import ConfigError
from streammeta.events import Array, Batch, Episode

Split = Literal["background", "evaluation"]
SPLITS: tuple[Split, ...] = ("background", "evaluation")


@dataclass(frozen=True, slots=True)
class Drawings:
    """The characters of one split.

    Attributes:
        images: uint8 (characters, drawings, 28, 28), ink = 1.
        alphabets: The alphabet of each character; characters of one alphabet stand together.
    """

    images: Array
    alphabets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ways:
    """What an event is made of: `ways` classes, `shots` and `query` drawings a class, no drawing in both."""

    ways: int = 5
    shots: int = 5
    query: int = 5
    seed: int = 0


def tasks_of(drawings: Drawings, ways: int) -> dict[str, Array]:
    """Task id, such as `Latin/3`, and its characters: each alphabet cut into groups of `ways` in its order.

    What is left over of an alphabet belongs to no task.

    >>> tasks_of(Drawings(np.zeros((5, 20, 28, 28), np.uint8), ("Greek",) * 3 + ("Latin",) * 2), 2)
    {'Greek/0': array([0, 1]), 'Latin/0': array([3, 4])}
    """
    alphabets = np.array(drawings.alphabets)
    tasks = {}
    for alphabet in dict.fromkeys(drawings.alphabets):
        characters = np.flatnonzero(alphabets == alphabet)
        for group in range(len(characters) // ways):
            tasks[f"{alphabet}/{group}"] = characters[group * ways : (group + 1) * ways]
    return tasks


def omniglot(drawings: Drawings, settings: Ways, *, start: int = 0) -> Iterator[tuple[str, Episode[Array]]]:
    """Events without end, from event number `start` on; tasks are drawn uniformly at random.

    x is uint8 (examples, 1, 28, 28), y int64 (examples,) with labels 0 to ways - 1, the same at each event of
    a task; examples are in the order of their class.

    Raises:
        ConfigError: more drawings or characters are asked for than there are.
    """
    tasks = tasks_of(drawings, settings.ways)
    _check(drawings, settings, tasks)
    return _events(drawings.images, settings, tasks, start)


def _check(drawings: Drawings, settings: Ways, tasks: Mapping[str, Array]) -> None:
    if not tasks:
        raise ConfigError(f"--ways {settings.ways}: no alphabet has so many characters; take fewer")
    wanted, there = settings.shots + settings.query, drawings.images.shape[1]
    if wanted > there:
        raise ConfigError(
            f"--shots {settings.shots} --query {settings.query}: {wanted} drawings of a character, but there "
            f"are {there}; take fewer"
        )


def _events(
    images: Array, settings: Ways, tasks: Mapping[str, Array], start: int
) -> Iterator[tuple[str, Episode[Array]]]:
    names = list(tasks)
    for _, random in event_generators(settings.seed, start):
        task = names[int(random.integers(len(names)))]
        yield task, _episode(images, tasks[task], settings, random)


def _episode(images: Array, characters: Array, settings: Ways, random: np.random.Generator) -> Episode[Array]:
    order = np.tile(np.arange(images.shape[1]), (settings.ways, 1))
    drawn = random.permuted(order, axis=1)[:, : settings.shots + settings.query]
    return Episode(
        _batch(images, characters, drawn[:, : settings.shots]),
        _batch(images, characters, drawn[:, settings.shots :]),
    )


def _batch(images: Array, characters: Array, drawn: Array) -> Batch[Array]:
    ways, per_class = drawn.shape
    x = images[characters[:, None], drawn].reshape(ways * per_class, 1, *images.shape[2:])
    return Batch(x, np.repeat(np.arange(ways, dtype=np.int64), per_class))
