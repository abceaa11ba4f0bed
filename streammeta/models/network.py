"""A user's model and loss as one function of a flat parameter vector; names come back at the edges."""

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from streammeta.errors import BadEvent, Reason
from streammeta.events import Array, Batch, Episode
from streammeta.models.attention import plain_attention
from streammeta.models.isolation import kept_running
from streammeta.models.losses import PredictionLoss, checked

DTYPES = {"float32": torch.float32, "float64": torch.float64}


class Parameter(NamedTuple):
    """One named parameter of the flat vector, in the order in which they lie there."""

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


Layout = tuple[Parameter, ...]


def unflatten(layout: Layout, flat: Tensor) -> dict[str, Tensor]:
    """The parameters by name, as views of `flat` (d,).

    >>> unflatten((Parameter("a", (2, 1)), Parameter("b", ())), torch.arange(3.0))["a"].shape
    torch.Size([2, 1])
    """
    pieces = torch.split(flat, [parameter.size for parameter in layout])
    return {p.name: piece.view(p.shape) for p, piece in zip(layout, pieces, strict=True)}


@dataclass(frozen=True)
class Network:
    """A model and its loss.

    Attributes:
        module: The network; its own parameter values are never used after `initial` was read.
        loss_of: Loss of a prediction against a target.
        layout: Names and shapes of the d parameters.
        initial: Their first values, shape (d,).
        dtype, device: Where and in what numbers it computes.
        keeps_integers: Integer x is passed as it is (the model has embeddings); else cast to `dtype`.
        takes_classes: Whether y is class numbers.
        fresh: Builds the module once more, with the same first values; None where it was not built here.
        ties: Other places in the module that hold a parameter -> its name.
    """

    module: nn.Module
    loss_of: PredictionLoss
    layout: Layout
    initial: Tensor
    dtype: torch.dtype
    device: torch.device
    keeps_integers: bool
    takes_classes: bool = False
    fresh: Callable[[], nn.Module] | None = None
    ties: Mapping[str, str] = field(default_factory=dict)

    @property
    def dimension(self) -> int:
        """d, the number of parameters."""
        return self.initial.numel()

    def predict(self, params: Tensor, x: Tensor) -> Tensor:
        """The model's output at flat parameters (d,).

        Raises:
            TypeError: the model returns something else than one tensor of real numbers, where x is.
            ValueError: the first axis of what it returns is not that of the examples.
        """
        values = unflatten(self.layout, params)
        values |= {place: values[name] for place, name in self.ties.items()}
        # tied by name here: PyTorch's own tying does not put a submodule back that has two names
        with plain_attention(), kept_running():
            output = torch.func.functional_call(self.module, values, (x,), tie_weights=False)
        if not isinstance(output, Tensor):
            raise TypeError(
                f"the model returns {type(output).__name__}, not one tensor; "
                "let forward return the prediction alone"
            )
        if output.device != x.device or not output.is_floating_point():
            kind = str(output.dtype).removeprefix("torch.")
            raise TypeError(
                f"the model predicts {kind} on {output.device} for x on {x.device}; nothing can be learned "
                "through that: let forward return real numbers on the device of x"
            )
        if output.shape[:1] != x.shape[:1]:
            raise ValueError(
                f"the model predicts {[*output.shape]} for {len(x)} examples; "
                "its first axis must be the examples"
            )
        return output

    def loss(self, params: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Mean loss of one task at flat parameters (d,), shape ().

        Raises:
            TypeError: the loss is no single real number.
        """
        prediction = self.predict(params, x)
        with kept_running():
            return checked(self.loss_of(prediction, y))

    def tensors(self, episode: Episode[Array]) -> Episode[Tensor]:
        """The episode in the model's numbers and on its device.

        Raises:
            BadEvent: NaN or infinity, before or after the cast; fractional class numbers.
        """
        return Episode(*(self._tensors(batch) for batch in episode))

    def shapes(self, episode: Episode[Array]) -> Hashable:
        """What must be equal in two episodes that are stacked: shapes, and whether x stays integer."""
        return tuple((x.shape, y.shape, self.keeps_integers and x.dtype.kind != "f") for x, y in episode)

    def x_numbers(self, x: Array) -> Array:
        """Inputs cast to what the model takes.

        Raises:
            BadEvent: NaN or infinity, before or after the cast.
        """
        if self.keeps_integers and x.dtype.kind != "f":
            return x.astype(np.int64)
        return self._real(x, "x")

    def y_numbers(self, y: Array) -> Array:
        """Labels cast to what the loss takes.

        Raises:
            BadEvent: NaN or infinity, before or after the cast; fractional class numbers.
        """
        if not self.takes_classes:
            return self._real(y, "y")
        if not np.isfinite(y).all():
            raise BadEvent(Reason.NON_FINITE_INPUT, "y holds NaN or infinity", stage="step")
        if y.dtype.kind == "f" and not np.array_equal(y, np.trunc(y)):
            raise BadEvent(Reason.BAD_TENSOR, "y must hold class numbers, got fractions", stage="step")
        with np.errstate(invalid="ignore"):  # too large a number becomes one that no class has
            return y.astype(np.int64)

    def _tensors(self, batch: Batch[Array]) -> Batch[Tensor]:
        x, y = torch.from_numpy(self.x_numbers(batch.x)), torch.from_numpy(self.y_numbers(batch.y))
        return Batch(x.to(self.device), y.to(self.device))

    def _real(self, values: Array, name: str) -> Array:
        with np.errstate(over="ignore"):
            cast_values = values.astype("float32" if self.dtype == torch.float32 else "float64")
        if not np.isfinite(cast_values).all():
            raise BadEvent(
                Reason.NON_FINITE_INPUT, f"{name} holds NaN, infinity or a number too large", stage="step"
            )
        return cast_values
