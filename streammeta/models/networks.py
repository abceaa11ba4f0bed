"""Built-in networks. None keeps running statistics: an event must leave a trace in parameters alone."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, Literal

from torch import nn

BUILT_IN: Final = frozenset(f"streammeta.models:{name}" for name in ("linear", "mlp", "conv4"))
"""The factories here, by import path: code of streammeta itself, whatever a state names beside."""


def linear(inputs: int = 1, outputs: int = 1) -> nn.Module:
    """One affine map."""
    return nn.Linear(inputs, outputs)


def mlp(sizes: Sequence[int] = (1, 40, 40, 1)) -> nn.Module:
    """Affine maps with ReLU between them. The default is the sinusoid network of Finn et al. 2017.

    >>> sum(p.numel() for p in mlp([1, 40, 40, 1]).parameters())
    1761
    """
    if len(sizes) < 2:
        raise ValueError(f"mlp needs at least an input and an output size, got sizes = {list(sizes)}")
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def conv4(
    ways: int = 5,
    channels: int = 64,
    inputs: int = 1,
    image_size: int = 28,
    norm: Literal["batch", "group"] = "batch",
) -> nn.Module:
    """Four blocks of 3×3 convolution, normalisation, ReLU, 2×2 max-pooling; then one affine map.

    "batch" normalises with the statistics of the batch at hand, support and query each on its own (the
    transductive setting of the few-shot papers); "group" is independent of the other examples.
    Source: Vinyals et al. 2016, arXiv:1606.04080; Finn et al. 2017, section 5.2.
    """
    if image_size < 16:
        raise ValueError(
            f"conv4 halves the image four times: image_size must be 16 or more, got {image_size}"
        )
    blocks: list[nn.Module] = []
    for width in (inputs, channels, channels, channels):
        blocks += [
            nn.Conv2d(width, channels, 3, padding=1),
            _norm(norm, channels),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(channels * (image_size // 16) ** 2, ways))


def _norm(kind: str, channels: int) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(channels, track_running_stats=False)
    if kind == "group":
        return nn.GroupNorm(math.gcd(8, channels), channels)
    raise ValueError(f'norm must be "batch" or "group", got {kind!r}')
