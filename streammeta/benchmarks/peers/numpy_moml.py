"""The MOML event by hand in NumPy: gradients and the Hessian-vector product derived on paper.

The Hessian-vector product is Pearlmutter's: the derivative of the backward pass along a direction. A ReLU has
no second derivative, so the mask of the forward pass serves both.
Source: Pearlmutter, Neural Computation 6(1) 1994; MOML as in `streammeta.algorithms.moml`.
"""

from typing import NamedTuple

import numpy as np

from streammeta.benchmarks.peers.problem import (
    ALPHA,
    BETA,
    DIMENSION,
    META_LR,
    MOMENTUM,
    Problem,
    Reported,
    split,
)
from streammeta.events import Array, Batch


class Tape(NamedTuple):
    """What the forward and backward pass of one batch leave for the second derivative."""

    x: Array
    first: Array
    second: Array
    first_mask: Array
    second_mask: Array
    out_slope: Array
    second_slope: Array
    first_slope: Array


class NumpyMoml:
    """A learner of one network: its parameters, its momentum and the memories of its tasks.

    Args:
        made: The events.
        dtype: float32 as the daemon; float64 to compare by.
    """

    def __init__(self, made: Problem, dtype: str = "float32") -> None:
        self.made = made
        self.params = made.initial.astype(dtype)
        self.momentum = np.zeros(DIMENSION, dtype)
        self.memories = np.zeros((made.known, DIMENSION), dtype)
        self.seen = np.zeros(made.known, bool)

    def __call__(self, number: int) -> Reported:
        """Learn from an event: two gradients, one Hessian-vector product, three losses."""
        task, (support, query) = self.made.tasks[number], self.made.episodes[number]
        w, memory = self.params, self.memories[task]
        gradient, tape = gradient_of(w, support)
        target = w - ALPHA * gradient
        before = loss_of(memory, query) if self.seen[task] else np.nan
        reported = loss_of(w, query), loss_of(target, query), before
        memory += (BETA if self.seen[task] else 1.0) * (target - memory)
        if not self.seen[task]:
            memory[:] = target
        self.seen[task] = True
        direction, _ = gradient_of(memory, query)
        direction = direction - ALPHA * hessian_of(w, tape, direction)
        self.momentum = MOMENTUM * self.momentum + direction
        step = META_LR * self.momentum
        self.params = w - step
        norms = (np.sqrt(one @ one) for one in (direction, step, memory - target))
        return Reported(*map(float, (*reported, *norms)))

    def state(self) -> dict[str, Array]:
        """What a restart needs."""
        return {"params": self.params, "momentum": self.momentum, "memories": self.memories}


def loss_of(params: Array, batch: Batch[Array]) -> float:
    """Mean squared error."""
    w1, b1, w2, b2, w3, b3 = split(params)
    hidden = np.maximum(batch.x @ w1.T + b1, 0)
    error = np.maximum(hidden @ w2.T + b2, 0) @ w3.T + b3 - batch.y
    return float((error * error).mean())


def gradient_of(params: Array, batch: Batch[Array]) -> tuple[Array, Tape]:
    """∇l (d,), and what `hessian_of` needs."""
    w1, b1, w2, b2, w3, b3 = split(params)
    x, y = batch
    before1 = x @ w1.T + b1
    mask1 = before1 > 0
    first = before1 * mask1
    before2 = first @ w2.T + b2
    mask2 = before2 > 0
    second = before2 * mask2
    out = (second @ w3.T + b3 - y) * np.asarray(2 / y.size, params.dtype)
    slope2 = (out @ w3) * mask2
    slope1 = (slope2 @ w2) * mask1
    flat = np.empty_like(params)
    g1, c1, g2, c2, g3, c3 = split(flat)
    g1[:], c1[:] = slope1.T @ x, slope1.sum(0)
    g2[:], c2[:] = slope2.T @ first, slope2.sum(0)
    g3[:], c3[:] = out.T @ second, out.sum(0)
    return flat, Tape(x, first, second, mask1, mask2, out, slope2, slope1)


def hessian_of(params: Array, tape: Tape, along: Array) -> Array:
    """∇²l · along (d,), at the parameters and data of the tape."""
    _, _, w2, _, w3, _ = split(params)
    v1, a1, v2, a2, v3, a3 = split(along)
    first = (tape.x @ v1.T + a1) * tape.first_mask
    second = (first @ w2.T + tape.first @ v2.T + a2) * tape.second_mask
    out = second @ w3.T + tape.second @ v3.T + a3
    out *= np.asarray(2 / out.size, params.dtype)
    slope2 = (out @ w3 + tape.out_slope @ v3) * tape.second_mask
    slope1 = (slope2 @ w2 + tape.second_slope @ v2) * tape.first_mask
    flat = np.empty_like(params)
    g1, c1, g2, c2, g3, c3 = split(flat)
    g1[:], c1[:] = slope1.T @ tape.x, slope1.sum(0)
    g2[:], c2[:] = slope2.T @ tape.first + tape.second_slope.T @ first, slope2.sum(0)
    g3[:], c3[:] = out.T @ tape.second + tape.out_slope.T @ second, out.sum(0)
    return flat
