"""The event that every peer learns from: second order on sinusoids, MLP 1-40-40-1, K = 10 + 10.

Peers that compute MOML give the same numbers (`tests/benchmarks/test_peers.py`): what is timed is the same.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import Any, Final, NamedTuple

import numpy as np

from streammeta.datasets.sinusoid import Sinusoids, sinusoid
from streammeta.events import Array, Episode

WIDTHS: Final = (1, 40, 40, 1)
ALPHA, BETA, META_LR, MOMENTUM = 0.01, 0.3, 0.001, 0.9
"""Inner step, memory rate, meta step and its momentum: the defaults of the configuration."""

SHAPES: Final = tuple(
    shape for inputs, outputs in pairwise(WIDTHS) for shape in ((outputs, inputs), (outputs,))
)
"""Of weights and biases, layer by layer, as they lie in the flat vector."""

DIMENSION: Final = sum(int(np.prod(shape)) for shape in SHAPES)


class Reported(NamedTuple):
    """What an event tells: losses before it was learned from, norms, distance of the memory to its target."""

    loss_meta: float
    loss_adapted: float
    loss_memory: float
    gradient_norm: float
    update_norm: float
    tracking_error: float


@dataclass
class Problem:
    """Events made before the clock runs.

    Attributes:
        tasks: The task of each event, a number below `known`.
        episodes: Their data, float32.
        initial: The first parameters (d,), as torch's `nn.Linear` draws them.
    """

    tasks: list[int]
    episodes: list[Episode[Array]]
    known: int
    initial: Array = field(repr=False)


Event = Callable[[int], Any]
"""Learns from the event of this number; what it gives is what the peer reports."""


def problem(events: int = 256, known: int = 25, seed: int = 0) -> Problem:
    """The first events of a sinusoid stream.

    >>> made = problem(events=3)
    >>> made.episodes[0].support.x.shape, made.initial.shape
    ((10, 1), (1761,))
    """
    stream = list(islice(sinusoid(Sinusoids(tasks=known, seed=seed)), events))
    random = np.random.default_rng(seed)
    pieces = [
        random.uniform(-1, 1, shape) / np.sqrt(WIDTHS[layer // 2]) for layer, shape in enumerate(SHAPES)
    ]
    initial = np.concatenate([piece.ravel() for piece in pieces]).astype(np.float32)
    return Problem(
        [int(task.rpartition("/")[2]) for task, _ in stream], [e for _, e in stream], known, initial
    )


def split(flat: Array) -> list[Array]:
    """The flat vector as weights and biases, views of it."""
    pieces, begin = [], 0
    for shape in SHAPES:
        size = int(np.prod(shape))
        pieces.append(flat[begin : begin + size].reshape(shape))
        begin += size
    return pieces
