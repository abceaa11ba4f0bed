"""MNIST-1D, generated from its published recipe: ten digit templates, stretched, moved, noisy and sheared.

The same recipe and the same distribution as the author's file, not its very examples.
Source: Greydanus 2020, "Scaling down deep learning", arXiv:2011.14439, and its public code (constants).
"""

from typing import Final, NamedTuple

import numpy as np
from torch import nn

from streammeta.events import Array

LENGTH: Final = 40
CLASSES: Final = 10
_PADDING: Final = (36, 60)
_SCALE, _NOISE, _SMOOTH_NOISE, _SHEAR = 0.4, 0.02, 0.25, 0.75
_LARGEST_SHIFT: Final = 48
_BLUR: Final = 2.0
_TEMPLATES: Final = (
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)


class Digits(NamedTuple):
    """Examples x (n, 40) float32, mean 0 and standard deviation 1 over all; digits y (n,)."""

    x: Array
    y: Array


def digits(each: int, seed: int) -> Digits:
    """So many examples of each digit, in the order of the digits."""
    random = np.random.default_rng(seed)
    templates = _templates()
    x = np.stack([_varied(template, random) for template in templates for _ in range(each)])
    return Digits(((x - x.mean()) / x.std()).astype(np.float32), np.repeat(np.arange(CLASSES), each))


def conv1d(channels: int = 25, ways: int = CLASSES) -> nn.Module:
    """The recipe's network: three strided convolutions with ReLU, one affine map; x is (examples, 1, 40)."""
    return nn.Sequential(
        nn.Conv1d(1, channels, 5, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv1d(channels, channels, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv1d(channels, channels, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(5 * channels, ways),
    )


def _templates() -> Array:
    """Ten shapes (10, 12), of one size, that begin at 0."""
    x = np.array(_TEMPLATES)
    x = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    whole: Array = (x - x[:, :1]) / 6
    return whole


def _varied(template: Array, random: np.random.Generator) -> Array:
    """One example: padded, stretched, scaled, moved; noise, smooth beside the digit; sheared; 40 points."""
    padded = np.concatenate([template + 1e-8, np.zeros(random.integers(_PADDING[0], _PADDING[1] + 1))])
    x = _resampled(padded, len(template) + _PADDING[1])
    x = np.roll(x * (1 + _SCALE * (random.random() - 0.5)), random.integers(_LARGEST_SHIFT))
    smooth = _blurred(_SMOOTH_NOISE * random.standard_normal(len(x)))
    x = np.where(x != 0, x, smooth) + _NOISE * random.standard_normal(len(x))
    x = x - _SHEAR * (random.random() - 0.5) * np.linspace(-0.5, 0.5, len(x))
    return _resampled(x, LENGTH)


def _resampled(x: Array, points: int) -> Array:
    """Linear interpolation on as many points."""
    return np.interp(np.linspace(0, 1, points), np.linspace(0, 1, len(x)), x)


def _blurred(x: Array) -> Array:
    """A Gaussian filter of width 2, the edges reflected."""
    reach = int(4 * _BLUR + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / _BLUR) ** 2)
    return np.convolve(np.pad(x, reach, mode="symmetric"), kernel / kernel.sum(), mode="valid")
