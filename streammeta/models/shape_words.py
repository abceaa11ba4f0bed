"""Why a model cannot take an input, in the user's words: features, channels, image sizes."""

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from streammeta.models.network import Network
from streammeta.models.randomness import kept_randomness
from streammeta.wording import counted


def shape_words(network: Network, params: Tensor, x: Tensor) -> str:
    """What does not fit between x and the layer at which the model fails; "" where that is not known."""
    entered = list[tuple[str, nn.Module, Tensor]]()
    with ExitStack() as stack:
        for name, layer in network.module.named_modules():
            if not [*layer.children()]:
                stack.callback(layer.register_forward_pre_hook(_noting(entered, name)).remove)
        stack.enter_context(torch.no_grad())
        stack.enter_context(kept_randomness())
        try:
            network.predict(params.clone(), x)
        except Exception:  # noqa: BLE001 (it is known to fail; where is what is asked)
            return _words(*entered[-1], x) if entered else ""
    return ""


def _noting(entered: list[tuple[str, nn.Module, Tensor]], name: str) -> Any:
    def note(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        if inputs and isinstance(inputs[0], Tensor):
            entered.append((name, layer, inputs[0]))

    return note


def _words(name: str, layer: nn.Module, given: Tensor, x: Tensor) -> str:
    kind, own = f"layer {name or 'model'} ({type(layer).__name__})", given.shape == x.shape
    match layer:
        case nn.Linear() if given.ndim == 0 or given.shape[-1] != layer.in_features:
            return _told("feature", given.shape[-1] if given.ndim > 1 else 1, layer.in_features, kind, own, x)
        case nn.Conv1d() | nn.Conv2d() | nn.Conv3d():
            axes = ["channels", *("depth", "height", "width")[-(layer.weight.ndim - 2) :]]
            if given.ndim != layer.weight.ndim:
                return f"an example of x has shape {[*x.shape[1:]]}, {kind} takes ({', '.join(axes)})"
            if given.shape[1] != layer.in_channels:
                return _told("channel", given.shape[1], layer.in_channels, kind, own, x)
            return f"an example of x has shape {[*x.shape[1:]]}, too small for {kind}"
        case nn.RNNBase() if given.shape[-1] != layer.input_size:
            return _told("feature", given.shape[-1], layer.input_size, kind, own, x)
        case nn.Embedding() if given.is_floating_point():
            return f"{kind} takes whole numbers, x holds fractions: send integers"
    return ""


def _told(what: str, has: int, takes: int, kind: str, own: bool, x: Tensor) -> str:
    """`own`: the layer gets x itself."""
    if own:
        return f"x has {counted(has, what)} an example, the model takes {takes}"
    return (
        f"an example of x of shape {[*x.shape[1:]]} gives {counted(has, what)} to {kind}, which takes {takes}"
    )
