"""Trying a model and its loss before anything is learned: on given shapes, or on those its layers tell."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import redirect_stdout
from typing import Final

import torch
from torch import Tensor, nn

from streammeta.errors import ConfigError
from streammeta.models.faults import told
from streammeta.models.network import Network
from streammeta.models.probe import refuse_changes
from streammeta.models.randomness import kept_randomness

CODE_FAULTS: Final = (TypeError, AttributeError, NameError)
"""Errors that no data is to blame for."""
_EXAMPLES: Final = 3
_STEPS: Final = 5
_SIZES: Final = (28, 32, 84, 64, 16, 8)
"""Image sizes that are tried."""


def try_model(network: Network, params: Tensor, x: Tensor, y: Tensor) -> int:
    """One forward pass and the loss, in the model's numbers; how many classes it tells apart, 0 if none.

    Raises:
        TypeError, ValueError, RuntimeError, …: whatever the user's code, or PyTorch, says.
    """
    params, x, y = params.clone(), x.clone(), y.clone()  # code may write to them: found out later
    with torch.no_grad(), kept_randomness(), warnings.catch_warnings():
        warnings.filterwarnings("error", "Using a target size", UserWarning)  # it would broadcast
        prediction = network.predict(params, x)
        if network.takes_classes and prediction.ndim < 2:
            raise ValueError(
                "the model predicts one number an example; class numbers need (examples, classes)"
            )
        network.loss(params, x, y)
    return prediction.shape[1] if network.takes_classes else 0


def try_at_start(network: Network) -> tuple[int, ...] | None:
    """Try the model on an input that its first layer tells of; the shape it took, None where none is known.

    What cannot be told from the layers is found out at the first event.

    Raises:
        ConfigError: the code fails whatever the shape, or a call leaves something behind.
    """
    with redirect_stdout(sys.stderr):  # what a model prints is no data
        return _tried(network)


def _tried(network: Network) -> tuple[int, ...] | None:
    failures = list[Exception]()
    for x in _inputs(network):
        try:
            with torch.no_grad(), kept_randomness():
                prediction = network.predict(network.initial.clone(), x)
        except Exception as error:  # noqa: BLE001 (the user's code may raise anything)
            failures.append(error)
            continue
        _try_loss(network, x, prediction)
        return tuple(x.shape)
    if failures and all(_is_fault(error) for error in failures):
        raise ConfigError(
            f"model.factory: the model fails: {told(failures[0])}{advice(failures[0])}"
        ) from failures[0]
    return None


def _try_loss(network: Network, x: Tensor, prediction: Tensor) -> None:
    shape = prediction.shape[:1] + prediction.shape[2:]
    y = (
        torch.zeros(shape, dtype=torch.int64, device=x.device)
        if network.takes_classes
        else torch.full_like(prediction, 0.25)
    )
    try:
        try_model(network, network.initial, x, y)
    except Exception as error:
        if network.takes_classes or _is_fault(error):
            raise ConfigError(f"model.loss: the loss fails: {told(error)}{advice(error)}") from error
        return
    try:
        refuse_changes(network, network.initial, x, y)
    except ConfigError:
        raise
    except Exception:  # noqa: BLE001 (numbers made up do not suit it; the first event tells)
        return


def _is_fault(error: Exception) -> bool:
    return isinstance(error, CODE_FAULTS) or bool(advice(error))


def advice(error: BaseException) -> str:
    """What helps against it, where that is known."""
    words = ("dtype", "scalar type")
    if isinstance(error, RuntimeError) and any(word in str(error) for word in words):
        return (
            "; model.dtype converts parameters and buffers alone: register_buffer other tensors, or make "
            "them with dtype=x.dtype, device=x.device"
        )
    if "dynamo-optimized" in str(error):
        return "; leave torch.compile out of the model and the loss: whole steps are traced instead"
    return ""


def _inputs(network: Network) -> Iterator[Tensor]:
    """Inputs that the first layer could take."""
    first = next(
        (layer for layer in network.module.modules() if not [*layer.children()] and [*layer.parameters()]),
        None,
    )

    def zeros(*shape: int, dtype: torch.dtype = network.dtype) -> Tensor:
        return torch.zeros(shape, dtype=dtype, device=network.device)

    match first:
        case nn.Linear():
            yield zeros(_EXAMPLES, first.in_features)
            yield zeros(_EXAMPLES, _STEPS, first.in_features)
        case nn.RNNBase():
            yield zeros(_EXAMPLES, _STEPS, first.input_size)
        case nn.Conv1d() | nn.Conv2d() | nn.Conv3d():
            for size in _SIZES:
                yield zeros(_EXAMPLES, first.in_channels, *[size] * (first.weight.ndim - 2))
        case nn.Embedding():
            for shape in ((_EXAMPLES, _STEPS), (_EXAMPLES,)):
                yield zeros(*shape, dtype=torch.int64)
