"""From the names in the configuration to a network: import, build, check, move.

The factory is run twice from the same seeds. What differs between the two builds would differ at each start,
and is refused; so are kinds of modules and layers that cannot be learned as a function of their parameters.
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from streammeta.config.secret import masked
from streammeta.errors import ConfigError
from streammeta.models.faults import told
from streammeta.models.isolation import kept_running, kept_switches
from streammeta.models.kinds import refuse_kinds
from streammeta.models.losses import LOSSES
from streammeta.models.network import DTYPES, Network, Parameter
from streammeta.models.placement import moved, ties_of
from streammeta.models.randomness import seeded
from streammeta.models.user_code import where
from streammeta.models.user_loss import Loss, user_loss

_REMEDY = (
    "it must follow from the arguments, the seed and files alone: torch, NumPy and random are seeded from "
    "model.seed, so draw from them, not from a generator of your own, the clock or the system"
)

_CODE_FAULTS: Final = (LookupError, OSError, ImportError, AttributeError, NameError)
"""Errors of a factory that are not about its arguments."""


def load_network(
    factory: str,
    args: Mapping[str, Any],
    *,
    loss: str,
    seed: int,
    dtype: str,
    device: str,
    build: Callable[..., nn.Module] | None = None,
) -> Network:
    """Build the network that the configuration names.

    All that the factory draws from torch, NumPy and `random` depends on `seed` alone; their own states are
    left as they were. Parameters with `requires_grad = False` stay as the factory made them, and do not
    belong to the flat vector. `build`: what builds the module where `factory` only names it.

    Raises:
        ConfigError: the factory, its arguments, the loss or the device is wrong, the model differs between
            two builds, or a layer cannot be used.
    """
    build = build or load_callable(factory, "model.factory")
    fresh = partial(_built, build, factory, args, seed, dtype, device)
    module = fresh()
    _refuse_differences(module, fresh(), factory)
    parameters = [(name, value.detach()) for name, value in module.named_parameters() if value.requires_grad]
    if not parameters:
        frozen = sum(1 for _ in module.parameters())
        raise ConfigError(
            f"model.factory: {factory} returns a model without parameters that may be learned"
            + (
                f": all {frozen} have requires_grad = False; leave it True for those to learn"
                if frozen
                else ""
            )
        )
    chosen = load_loss(loss, DTYPES[dtype], torch.device(device))
    return Network(
        module=module,
        loss_of=chosen.of,
        layout=tuple(Parameter(name, tuple(value.shape)) for name, value in parameters),
        initial=torch.cat([value.reshape(-1) for _, value in parameters]),
        dtype=DTYPES[dtype],
        device=torch.device(device),
        keeps_integers=any(isinstance(m, nn.Embedding | nn.EmbeddingBag) for m in module.modules()),
        takes_classes=chosen.takes_classes,
        fresh=fresh,
        ties=ties_of(module),
    )


def load_loss(path: str, dtype: torch.dtype, device: torch.device) -> Loss:
    """A built-in loss by its name, or the user's at "package.module:callable".

    Raises:
        ConfigError: it cannot be imported, or cannot be used.
    """
    found = LOSSES[path] if path in LOSSES else load_callable(path, "model.loss")
    return user_loss(found, path, dtype, device)


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
        with _users(0):  # what a module draws as it is imported is the same at each start too
            _look_here(module_name)
            found = attrgetter(name)(importlib.import_module(module_name))
    except ImportError as error:
        raise ConfigError(f'{field} = "{path}": {_not_imported(module_name, error)}') from error
    except AttributeError as error:
        raise ConfigError(f'{field} = "{path}": {module_name} has no {name}') from error
    except Exception as error:
        raise ConfigError(f'{field} = "{path}": {module_name} fails when imported: {told(error)}') from error
    if not callable(found):
        raise ConfigError(f'{field} = "{path}": {name} cannot be called')
    return cast("Callable[..., Any]", found)


def _look_here(module_name: str) -> None:
    """Have a module of the user's in the working directory found, also later, when it imports others there.

    Only where one is asked for: a file that happens to lie there must not be run by a verb that needs none.
    """
    here = str(Path.cwd())
    if module_name.partition(".")[0] != "streammeta" and here not in sys.path:
        sys.path.append(here)  # last: a file of the user's must not hide a library


def _not_imported(module_name: str, error: ImportError) -> str:
    """Whether the module is missing, or what it imports in turn."""
    if not where(error):
        return (
            f"cannot import {module_name} ({error}); is it installed beside streammeta, or a file in the "
            "working directory?"
        )
    remedy = (
        f"install {error.name} beside streammeta" if isinstance(error, ModuleNotFoundError) else "mend it"
    )
    return f"cannot import {module_name}: {told(error)}; {remedy}"


@contextmanager
def _users(seed: int) -> Iterator[None]:
    """What the user's code within draws follows from the seed; what it turns, and the program, stay."""
    with seeded(seed), kept_switches(), kept_running(), redirect_stdout(sys.stderr):  # no data
        yield


def _built(
    build: Callable[..., Any], factory: str, args: Mapping[str, Any], seed: int, dtype: str, device: str
) -> nn.Module:
    """The factory's module, checked, in these numbers and on this device."""
    with _users(seed):
        module = _call_factory(build, factory, args)
    refuse_kinds(module)
    return moved(module, DTYPES[dtype], usable_device(device))


def _call_factory(build: Callable[..., Any], factory: str, args: Mapping[str, Any]) -> nn.Module:
    if isinstance(build, nn.Module):
        raise ConfigError(
            f"model.factory: {factory} is a module, not what builds one; name a function, or the class"
        )
    try:
        with kept_running():
            module = build(**args)
    except Exception as error:
        if _binds(build, args) and (not args or isinstance(error, _CODE_FAULTS)):
            raise ConfigError(f"model.factory: {factory} fails: {told(error)}") from error
        shown = masked(("model", "args"), dict(args))
        raise ConfigError(f"model.args = {shown}: {factory} refuses them: {told(error)}") from error
    if not isinstance(module, nn.Module):
        what = f"the class {module.__name__}" if inspect.isclass(module) else type(module).__name__
        raise ConfigError(f"model.factory: {factory} returned {what}, not a torch.nn.Module")
    return module


def _binds(build: Callable[..., Any], args: Mapping[str, Any]) -> bool:
    """Whether the factory takes arguments of these names."""
    try:
        inspect.signature(build).bind(**args)
    except (TypeError, ValueError):  # ValueError: in C, and does not tell
        return False
    return True


def _refuse_differences(one: nn.Module, other: nn.Module, factory: str) -> None:
    """Refuse what two builds from the same seeds do not have in common."""
    if one is other:
        raise ConfigError(
            f"model.factory: {factory} returns the same module at each call, so its first values are not "
            "those of model.seed; build a new module at each call"
        )
    first, second = _tensors(one), _tensors(other)
    differing = [name for name in {**first, **second} if not _same(first.get(name), second.get(name))]
    if differing:
        more = f" (and {len(differing) - 1} more)" if len(differing) > 1 else ""
        raise ConfigError(
            f"model.factory: {differing[0]}{more} differs at each start although it is built from the same "
            f"seed; {_REMEDY}"
        )


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters, frozen ones too, and buffers, those that are not saved too, by name."""
    return {
        **{f"parameter {name}": value for name, value in module.named_parameters()},
        **{f"buffer {name}": value for name, value in module.named_buffers()},
    }


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None or one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool(torch.equal(one, other)) or bool(torch.allclose(one, other, rtol=0, atol=0, equal_nan=True))


def usable_device(device: str) -> torch.device:
    """The device, tried.

    Raises:
        ConfigError: this machine, or this torch, has none of that name.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f'model.device = "{device}" cannot be used here: {reason}; use "cpu"') from error
    return torch.device(device)
