"""The MOML event in JAX: one event a call (`jit`), and many events a call (`lax.scan`)."""

from collections.abc import Callable
from typing import Any

import numpy as np

from streammeta.benchmarks.peers.problem import (
    ALPHA,
    BETA,
    DIMENSION,
    META_LR,
    MOMENTUM,
    SHAPES,
    Event,
    Problem,
    Reported,
)

Carry = tuple[Any, Any, Any, Any]
"""Parameters (d,), momentum (d,), memories (tasks, d), whether each was seen (tasks,)."""


def jax_moml(made: Problem) -> Event:
    """An event a call; what it reports is fetched, as the daemon does."""
    import jax

    step, carry = jax.jit(_step(), donate_argnums=0), _first(made)

    def event(number: int) -> Reported:
        nonlocal carry
        carry, reported = step(carry, _inputs(made, number))
        return Reported(*np.asarray(reported).tolist())

    return event


def jax_scan(made: Problem, length: int = 64) -> Event:
    """`length` events a call, from the given one on: the order within is strict, nothing can come between."""
    import jax

    step, carry = _step(), _first(made)
    run = jax.jit(lambda carry, inputs: jax.lax.scan(step, carry, inputs), donate_argnums=0)
    rows = [_inputs(made, number) for number in range(len(made.tasks))]

    def events(number: int) -> Any:
        nonlocal carry
        chunk = rows[number : number + length]
        stacked = tuple(np.stack(column) for column in zip(*chunk, strict=True))
        carry, reported = run(carry, stacked)
        return np.asarray(reported)

    return events


def _inputs(made: Problem, number: int) -> tuple[Any, ...]:
    (sx, sy), (qx, qy) = made.episodes[number]
    return np.int32(made.tasks[number]), sx, sy, qx, qy


def _first(made: Problem) -> Carry:
    import jax.numpy as jnp

    zeros = jnp.zeros(DIMENSION)
    return jnp.asarray(made.initial), zeros, jnp.zeros((made.known, DIMENSION)), jnp.zeros(made.known, bool)


def _step() -> Callable[[Carry, Any], tuple[Carry, Any]]:
    import jax
    import jax.numpy as jnp

    def loss(flat: Any, x: Any, y: Any) -> Any:
        pieces, begin = [], 0
        for shape in SHAPES:
            size = int(np.prod(shape))
            pieces.append(flat[begin : begin + size].reshape(shape))
            begin += size
        w1, b1, w2, b2, w3, b3 = pieces
        hidden = jax.nn.relu(jax.nn.relu(x @ w1.T + b1) @ w2.T + b2)
        return jnp.mean((hidden @ w3.T + b3 - y) ** 2)

    def step(carry: Carry, inputs: Any) -> tuple[Carry, Any]:
        (w, momentum, memories, seen), (task, sx, sy, qx, qy) = carry, inputs
        gradient, pull_back = jax.vjp(lambda at: jax.grad(loss)(at, sx, sy), w)
        target, before = w - ALPHA * gradient, memories[task]
        moved = before + jnp.where(seen[task], BETA, 1.0) * (target - before)
        h = jax.grad(loss)(moved, qx, qy)
        direction = h - ALPHA * pull_back(h)[0]
        momentum = MOMENTUM * momentum + direction
        after = w - META_LR * momentum
        reported = jnp.stack(
            [
                loss(w, qx, qy),
                loss(target, qx, qy),
                jnp.where(seen[task], loss(before, qx, qy), jnp.nan),
                jnp.linalg.norm(direction),
                jnp.linalg.norm(after - w),
                jnp.linalg.norm(moved - target),
            ]
        )
        return (after, momentum, memories.at[task].set(moved), seen.at[task].set(True)), reported

    return step
