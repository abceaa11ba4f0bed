"""A user's model and loss as one function of a flat parameter vector; names come back at the edges.

Refused, with the remedy: running statistics and dropout. Both would let an event change, or depend on,
something that is not in the state.
"""

import importlib
import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from streammeta.config.secret import masked
from streammeta.errors import BadEvent, ConfigError, Reason
from streammeta.events import Array, Batch, Episode
from streammeta.models.attention import plain_attention
from streammeta.models.losses import CLASS_LOSSES, LOSSES, PredictionLoss

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
    """

    module: nn.Module
    loss_of: PredictionLoss
    layout: Layout
    initial: Tensor
    dtype: torch.dtype
    device: torch.device
    keeps_integers: bool

    @property
    def dimension(self) -> int:
        """d, the number of parameters."""
        return self.initial.numel()

    @property
    def takes_classes(self) -> bool:
        """Whether y is class numbers."""
        return self.loss_of in CLASS_LOSSES

    def predict(self, params: Tensor, x: Tensor) -> Tensor:
        """The model's output at flat parameters (d,)."""
        with plain_attention():
            return cast(
                "Tensor", torch.func.functional_call(self.module, unflatten(self.layout, params), (x,))
            )

    def loss(self, params: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Mean loss of one task at flat parameters (d,), shape ()."""
        return self.loss_of(self.predict(params, x), y)

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


def load_network(
    factory: str, args: Mapping[str, Any], *, loss: str, seed: int, dtype: str, device: str
) -> Network:
    """Build the network that the configuration names.

    The first parameter values depend on `seed` alone. Parameters with `requires_grad = False` stay as the
    factory made them: they belong to neither the flat vector nor the state.

    Raises:
        ConfigError: the factory, its arguments, the loss or the device is wrong, or a layer cannot be used.
    """
    build = load_callable(factory, "model.factory")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = _call_factory(build, factory, args)
    _refuse_layers(module)
    module = module.to(DTYPES[dtype]).to(_device(device))
    parameters = [(name, value.detach()) for name, value in module.named_parameters() if value.requires_grad]
    if not parameters:
        raise ConfigError(f"model.factory: {factory} returns a model without parameters that may be learned")
    return Network(
        module=module,
        loss_of=LOSSES[loss] if loss in LOSSES else load_callable(loss, "model.loss"),
        layout=tuple(Parameter(name, tuple(value.shape)) for name, value in parameters),
        initial=torch.cat([value.reshape(-1) for _, value in parameters]),
        dtype=DTYPES[dtype],
        device=torch.device(device),
        keeps_integers=any(isinstance(m, nn.Embedding | nn.EmbeddingBag) for m in module.modules()),
    )


def load_callable(path: str, field: str) -> Callable[..., Any]:
    """The object at "package.module:name".

    Raises:
        ConfigError: names `field`, the path and what is wrong with it.
    """
    module_name, _, name = path.partition(":")
    if not (module_name and name):
        known = f", or one of {', '.join(LOSSES)}" if field == "model.loss" else ""
        raise ConfigError(f'{field} = "{path}": write "package.module:callable"{known}')
    try:
        found = attrgetter(name)(importlib.import_module(module_name))
    except ImportError as error:
        raise ConfigError(
            f'{field} = "{path}": cannot import {module_name} ({error}); is it installed beside streammeta?'
        ) from error
    except AttributeError as error:
        raise ConfigError(f'{field} = "{path}": {module_name} has no {name}') from error
    if not callable(found):
        raise ConfigError(f'{field} = "{path}": {name} cannot be called')
    return cast("Callable[..., Any]", found)


def _call_factory(build: Callable[..., Any], factory: str, args: Mapping[str, Any]) -> nn.Module:
    try:
        module = build(**args)
    except (TypeError, ValueError, RuntimeError) as error:
        shown = masked(("model", "args"), dict(args))
        raise ConfigError(f"model.args = {shown}: {factory} refuses them: {error}") from error
    if not isinstance(module, nn.Module):
        raise ConfigError(f"model.factory: {factory} returned {type(module).__name__}, not a torch.nn.Module")
    return module


def _refuse_layers(module: nn.Module) -> None:
    for name, layer in module.named_modules():
        where = f"model.factory: layer {name or 'model'} ({type(layer).__name__})"
        if getattr(layer, "track_running_stats", False):
            raise ConfigError(
                f"{where} keeps running statistics, which no task owns and no checkpoint could replay; "
                "build it with track_running_stats=False, or use GroupNorm or LayerNorm"
            )
        if isinstance(layer, _DropoutNd) and layer.p > 0:
            raise ConfigError(
                f"{where} draws random numbers, so a recovered run would differ; build it with p=0"
            )


def _device(device: str) -> torch.device:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f'model.device = "{device}" cannot be used here: {reason}; use "cpu"') from error
    return torch.device(device)
