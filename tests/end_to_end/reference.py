"""MOML v1 written again from the paper: plain loops and NumPy in float64, nothing from the core.

The network is the ReLU network 1-40-40-1 under mean squared error; gradients are back-propagated by hand and
Hessian-vector products come from the R-operator (Pearlmutter 1994), which ReLU's zero curvature makes short.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Layers = list[tuple[Vector, Vector]]
Set = tuple[Vector, Vector]

SIZES = (1, 40, 40, 1)


def first_parameters(seed: int) -> Vector:
    """What torch initialises such a network with."""
    torch.manual_seed(seed)
    linear = [torch.nn.Linear(a, b) for a, b in pairwise(SIZES)]
    return np.concatenate(
        [p.detach().double().numpy().ravel() for layer in linear for p in layer.parameters()]
    )


def layers_of(flat: Vector) -> Layers:
    """Weights (out, in) and biases (out,) of each layer."""
    layers, begin = [], 0
    for inputs, outputs in pairwise(SIZES):
        middle, end = begin + inputs * outputs, begin + inputs * outputs + outputs
        layers.append((flat[begin:middle].reshape(outputs, inputs), flat[middle:end]))
        begin = end
    return layers


def forward(layers: Layers, x: Vector) -> tuple[list[Vector], Vector]:
    """The input of each layer, and the prediction."""
    inputs = [x]
    for weight, bias in layers[:-1]:
        inputs.append(np.maximum(inputs[-1] @ weight.T + bias, 0.0))
    weight, bias = layers[-1]
    return inputs, inputs[-1] @ weight.T + bias


def loss(flat: Vector, examples: Set) -> float:
    """Mean squared error."""
    x, y = examples
    return float(((forward(layers_of(flat), x)[1] - y) ** 2).mean())


def gradient(flat: Vector, examples: Set) -> Vector:
    """Its gradient, by back-propagation."""
    x, y = examples
    layers = layers_of(flat)
    inputs, prediction = forward(layers, x)
    error, pieces = 2 * (prediction - y) / y.size, []
    for index in reversed(range(len(layers))):
        pieces.append(np.concatenate([(error.T @ inputs[index]).ravel(), error.sum(0)]))
        if index:
            error = (error @ layers[index][0]) * (inputs[index] > 0)
    return np.concatenate(pieces[::-1])


def hessian_product(flat: Vector, direction: Vector, examples: Set) -> Vector:
    """∇²l(flat) · direction, by the R-operator: the derivative of `gradient` along `direction`."""
    x, y = examples
    layers, moves = layers_of(flat), layers_of(direction)
    inputs, prediction = forward(layers, x)
    r_inputs = [np.zeros_like(x)]
    for index, ((weight, _), (r_weight, r_bias)) in enumerate(zip(layers, moves, strict=True)):
        r_output = r_inputs[index] @ weight.T + inputs[index] @ r_weight.T + r_bias
        r_inputs.append(r_output * (inputs[index + 1] > 0) if index + 1 < len(layers) else r_output)
    error, r_error, pieces = 2 * (prediction - y) / y.size, 2 * r_inputs[-1] / y.size, []
    for index in reversed(range(len(layers))):
        r_weight_gradient = r_error.T @ inputs[index] + error.T @ r_inputs[index]
        pieces.append(np.concatenate([r_weight_gradient.ravel(), r_error.sum(0)]))
        if index:
            active = inputs[index] > 0
            r_error = (r_error @ layers[index][0] + error @ moves[index][0]) * active
            error = (error @ layers[index][0]) * active
    return np.concatenate(pieces[::-1])


def moml(
    events: Iterable[tuple[str, Set, Set]],
    start: Vector,
    *,
    alpha: float,
    beta: float,
    eta: float,
    momentum: float,
    clip: float,
) -> tuple[Vector, dict[str, Vector]]:
    """The last w and all u_i after the events (task, support, query), one meta-update each."""
    w, velocity = start.copy(), np.zeros_like(start)
    memories: dict[str, Vector] = {}
    for task, support, query in events:
        target = w - alpha * gradient(w, support)
        rate = beta if task in memories else 1.0
        memories[task] = (1 - rate) * memories.get(task, np.zeros_like(w)) + rate * target
        h = gradient(memories[task], query)
        v = h - alpha * hessian_product(w, h, support)
        v = v * min(1.0, clip / float(np.linalg.norm(v)))
        velocity = momentum * velocity + v
        w = w - eta * velocity
    return w, memories


def close(one: Vector, other: Vector, tolerance: float) -> bool:
    """Whether all numbers agree to an absolute tolerance."""
    return one.shape == other.shape and bool(np.abs(one - other).max() <= tolerance)


def check_derivatives(flat: Vector, direction: Vector, examples: Set) -> Sequence[float]:
    """|central difference − formula| of the gradient and of the Hessian product along `direction`."""
    step = 1e-6
    up, down = flat + step * direction, flat - step * direction
    slope = (loss(up, examples) - loss(down, examples)) / (2 * step)
    turn = (gradient(up, examples) - gradient(down, examples)) / (2 * step)
    return (
        abs(slope - float(gradient(flat, examples) @ direction)),
        float(np.abs(turn - hessian_product(flat, direction, examples)).max()),
    )
