"""Losses by name: mean over the examples of one task, prediction against target.

Shapes must agree exactly where they could silently broadcast.
"""

import math
from collections.abc import Callable
from typing import Final

from torch import Tensor
from torch.nn import functional

PredictionLoss = Callable[[Tensor, Tensor], Tensor]
"""(prediction (examples, …), target (examples, …)) -> shape ()."""


def mse(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean squared error over all numbers of the target."""
    return functional.mse_loss(prediction, _same_shape(prediction, target))


def huber(prediction: Tensor, target: Tensor) -> Tensor:
    """Huber loss with δ = 1: squared near zero, absolute beyond."""
    return functional.huber_loss(prediction, _same_shape(prediction, target))


def bce(prediction: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of logits against targets in [0, 1]."""
    return functional.binary_cross_entropy_with_logits(prediction, _same_shape(prediction, target))


def cross_entropy(prediction: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of logits (examples, classes, …) against class numbers (examples, …), from 0."""
    if target.shape != prediction.shape[:1] + prediction.shape[2:]:
        raise ValueError(
            f"class numbers of shape {[*target.shape]} do not fit logits {[*prediction.shape]}; "
            f"y of these {len(prediction)} examples must have shape "
            f"{[*prediction.shape[:1], *prediction.shape[2:]]}"
        )
    return functional.cross_entropy(prediction, target)


LOSSES: Final[dict[str, PredictionLoss]] = {
    "mse": mse,
    "cross_entropy": cross_entropy,
    "huber": huber,
    "bce": bce,
}

CLASS_LOSSES: Final = frozenset({cross_entropy})
"""Built-in losses whose targets are class numbers; the others take real targets in the model's dtype."""


def checked(loss: object) -> Tensor:
    """The loss, which must be one real number.

    Raises:
        TypeError: it is none, or no tensor.
    """
    if not isinstance(loss, Tensor):
        raise TypeError(f"the loss returns {type(loss).__name__}, not a tensor")
    if loss.ndim or not loss.is_floating_point():
        kind = str(loss.dtype).removeprefix("torch.")
        raise TypeError(
            f"the loss returns {kind} of shape {[*loss.shape]}, not one real number; take the mean "
            '(reduction="mean")'
        )
    return loss


def accuracy(prediction: Tensor, target: Tensor) -> Tensor:
    """The share of examples whose largest logit is at the target class.

    >>> import torch
    >>> accuracy(torch.eye(4), torch.tensor([0, 1, 3, 3])).item()
    0.75
    """
    return (prediction.argmax(1) == target).to(prediction.dtype).mean()


def _same_shape(prediction: Tensor, target: Tensor) -> Tensor:
    if prediction.shape != target.shape:
        shapes = f"y has shape {[*target.shape]}, the model predicts {[*prediction.shape]}"
        has, predicts = (math.prod(tensor.shape[1:]) for tensor in (target, prediction))
        if has != predicts:
            shapes += f": y has {has} values an example, the model predicts {predicts}"
        raise ValueError(shapes)
    return target
