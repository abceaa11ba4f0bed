"""Does a call of the model leave a trace that is not in the state? Found out by calling it again.

What is computed once and then kept (a cache) is welcome, as long as the answers are those of a fresh build.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from random import Random
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from streammeta.errors import ConfigError
from streammeta.models.network import Network, unflatten
from streammeta.models.randomness import drawn, kept_randomness

_SEED: Final = 20
_CALLS: Final = 5
"""So many calls in a row, of a millisecond or so each, no other thread is drawing numbers in by chance."""
_OWN: Final = frozenset(vars(nn.Module()))
"""What PyTorch itself keeps in a module."""
_REMEDY: Final = (
    "what an event leaves behind must be in parameters alone, or no checkpoint could replay it; "
    "leave it out, or fix its value in the factory"
)


def refuse_changes(network: Network, params: Tensor, x: Tensor, y: Tensor) -> None:
    """Call the model and the loss several times; x and y give shapes and dtypes.

    Raises:
        ConfigError: names what a call changes: a buffer, an attribute, a parameter, or the answer.
    """
    first, second = (_like(network, x, _SEED + n) for n in (0, 1))
    with torch.no_grad(), kept_randomness():
        given, params = params, params.clone()
        _refuse_writing(network, params, first, y)
        before = _kept(network)
        moved = _drawn_from(network, params, first, y)
        prediction, loss = _answers(network, params, first, y)
        again = _answers(network, params, first, y)
        _refuse_kept(before, _kept(network))
        if moved:
            raise ConfigError(
                f"model.factory: the model or the loss draws random numbers from {moved[0]} at each call, "
                "so a recovered run would differ; remove that layer or switch it off"
            )
        for name, piece in unflatten(network.layout, given != params).items():
            if piece.any():
                raise ConfigError(f"model.factory: a call writes to its parameter {name}; {_REMEDY}")
        if not (_equal(prediction, again[0]) and _equal(loss, again[1])):
            raise ConfigError(
                "model.factory: the model or the loss answers otherwise at the second call on the same input "
                f"(a counter, the clock, a generator of its own?); {_REMEDY}"
            )
        _refuse_memory(network, params, second)
        _refuse_unlearnable(network, params, first, y)


def _drawn_from(network: Network, params: Tensor, x: Tensor, y: Tensor) -> list[str]:
    """The generators from which each of some calls draws.

    They are the process's: another thread (a Kafka client that shuffles its brokers) may draw meanwhile.
    """
    moved = [*drawn()]
    for _ in range(_CALLS):
        at = drawn()
        _answers(network, params, x, y)
        moved = [name for name, place in drawn().items() if name in moved and place != at[name]]
        if not moved:
            break
    return moved


def _refuse_writing(network: Network, params: Tensor, x: Tensor, y: Tensor) -> None:
    """Refuse a call that writes to what it is given, or puts another tensor in place of a parameter."""
    given, target = x.clone(), y.clone()
    with _watched(network.module) as replaced:
        network.loss_of(network.predict(params, given), target)
    for name, now, before in (("model", given, x), ("loss", target, y)):
        if not _equal(now, before):
            raise ConfigError(
                f"model.{'factory' if name == 'model' else name}: the {name} writes to what it is given, and "
                "each call would get it changed; begin with a copy (x = x.clone()), or leave out what works "
                "in place (x = 2 * x, not x *= 2)"
            )
    if replaced:
        raise ConfigError(
            f"model.factory: forward puts another tensor in place of its parameter {replaced[0]}, through "
            "which nothing is learned; compute with a local variable instead"
        )


@contextmanager
def _watched(module: nn.Module) -> Iterator[list[str]]:
    """The parameters that a call within replaces."""
    before, replaced = dict[str, Tensor](), list[str]()

    def enter(layer: nn.Module, _inputs: object) -> None:
        before.update(layer.named_parameters())

    def leave(layer: nn.Module, _inputs: object, _output: object) -> None:
        now = dict(layer.named_parameters())
        replaced.extend(name for name, value in before.items() if now.get(name) is not value)

    with ExitStack() as hooks:
        hooks.callback(module.register_forward_pre_hook(enter).remove)
        hooks.callback(module.register_forward_hook(leave).remove)
        yield replaced


def _refuse_unlearnable(network: Network, params: Tensor, x: Tensor, y: Tensor) -> None:
    """Refuse a loss that no parameter can change."""
    with torch.enable_grad():
        loss = network.loss(params.detach().clone().requires_grad_(), x, y)
    if not loss.requires_grad:
        raise ConfigError(
            "model.factory, model.loss: the loss does not depend on the model's parameters, so nothing would "
            "be learned; leave out what cuts it off (detach(), torch.no_grad(), .item(), .data)"
        )


def _refuse_memory(network: Network, params: Tensor, x: Tensor) -> None:
    """Refuse a model that answers otherwise after other inputs than a fresh build does."""
    if network.fresh is None:
        return
    twin = replace(network, module=network.fresh())
    if not _equal(network.predict(params, x), twin.predict(params, x)):
        raise ConfigError(
            "model.factory: the model answers otherwise after it has seen another input than a fresh one "
            f"does: it keeps something of the inputs it saw; {_REMEDY}"
        )


def _refuse_kept(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    for name in {**before, **after}:
        if before.get(name) != after.get(name):
            raise ConfigError(f"model.factory: each call changes the {name}; {_REMEDY}")


def _answers(network: Network, params: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    prediction = network.predict(params, x)
    return prediction, network.loss_of(prediction, y)


def _like(network: Network, x: Tensor, seed: int) -> Tensor:
    """Other numbers of this shape: not zeros, which would hide a factor; token numbers that exist."""
    if not x.is_floating_point():
        tokens = [
            m.num_embeddings
            for m in network.module.modules()
            if isinstance(m, nn.Embedding | nn.EmbeddingBag)
        ]
        numbers = torch.arange(x.numel(), dtype=x.dtype, device=x.device) + seed
        return (numbers % min(tokens, default=1)).view(x.shape)
    draws = torch.Generator().manual_seed(seed)
    return torch.rand(x.shape, generator=draws, dtype=x.dtype).to(x.device) + 0.1


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(((one == other) | (one.isnan() & other.isnan())).all())


def _kept(network: Network) -> dict[str, Any]:
    """What model and loss keep beside parameters: name -> a value that can be compared."""
    kept = dict(_kept_in(network.module, ""))
    if isinstance(network.loss_of, nn.Module):
        kept |= _kept_in(network.loss_of, "loss.")
    return kept


def _kept_in(module: nn.Module, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, buffer in module.named_buffers():
        yield f"buffer {prefix}{name}", _plain(buffer, set())
    for path, layer in module.named_modules():
        for name, value in vars(layer).items():
            if name not in _OWN:
                yield f"attribute {prefix}{path + '.' if path else ''}{name}", _plain(value, set())


def _plain(value: Any, inside: set[int]) -> Any:
    """The value as something whose later self can be compared with it; () where that has no meaning."""
    match value:
        case None | bool() | int() | float() | complex() | str() | bytes():
            return repr(value)
        case Tensor():
            return (tuple(value.shape), str(value.dtype), value.detach().cpu().numpy().tobytes())
        case np.ndarray() | np.generic():
            return (value.shape, str(value.dtype), value.tobytes())
        case torch.Generator():
            return value.get_state().numpy().tobytes()
        case np.random.Generator():
            return repr(value.bit_generator.state)
        case Random():
            return repr(value.getstate())
        case nn.Module() | type():
            return ()
    if id(value) in inside:
        return ()
    inside = inside | {id(value)}
    match value:
        case dict():
            return [(repr(key), _plain(part, inside)) for key, part in value.items()]
        case list() | tuple() | deque():
            return [_plain(part, inside) for part in value]
        case set() | frozenset():
            return sorted(repr(_plain(part, inside)) for part in value)
    return [(name, _plain(part, inside)) for name, part in getattr(value, "__dict__", {}).items()]
