"""Parameters to begin at: a file of a whole `state_dict`, or the `meta/` of an export.

Frozen parameters and buffers are taken from it too. Names and shapes must be those of the model.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from streammeta.errors import ConfigError
from streammeta.models.constants import Constants, constants_of, take_constants
from streammeta.models.network import Network

_NAMED = 5  # names of one kind that a refusal tells


def read_parameters(path: Path) -> dict[str, Tensor]:
    """The tensors of the file by the model's names.

    Raises:
        ConfigError: it cannot be read, or is no safetensors file.
    """
    try:
        tensors = safetensors.torch.load(path.read_bytes())
    except OSError as error:
        raise ConfigError(
            f'model.init = "{path}": {error.strerror}; name a file, relative to the working directory'
        ) from error
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise ConfigError(
            f'model.init = "{path}" is no safetensors file ({error}); write one with '
            "safetensors.torch.save_model(module, path)"
        ) from error
    if tensors and all(name.startswith(("meta/", "task/")) for name in tensors):
        return {n.removeprefix("meta/"): value for n, value in tensors.items() if n.startswith("meta/")}
    return tensors


def begin_at(network: Network, tensors: Mapping[str, Tensor], path: Path) -> Tensor:
    """The parameters (d,) that `tensors` hold; frozen values and buffers go into the module.

    Args:
        network: The model.
        tensors: Name -> value, all of its `state_dict`; of names that share a tensor one is enough.
        path: Where they are from, for messages.

    Raises:
        ConfigError: names are missing or foreign, shapes or kinds of numbers differ, tied names differ, or
            a number is not finite.
    """
    constants = constants_of(network.module)
    learned = {p.name: value for p, value in zip(network.layout, _pieces(network), strict=True)}
    wanted = constants.complete(learned)
    problems = [
        *_misnamed(wanted, tensors, constants),
        *_misshapen(wanted, tensors),
        *_untied(tensors, constants),
    ]
    if problems:
        raise ConfigError(
            f'model.init = "{path}" does not fit the model: {"; ".join(problems)}; '
            "name the file of a model that the same factory and args made"
        )
    names = {holder: name for name, holder in constants.aliases.items() if name in tensors}
    found = {
        name: tensors[name if name in tensors else names[name]] for name in (*learned, *constants.values)
    }
    take_constants(network.module, {name: found[name] for name in constants.values})
    flat = [found[name].to(network.dtype).reshape(-1) for name in learned]
    return torch.cat(flat).to(network.device)


def _pieces(network: Network) -> Iterator[Tensor]:
    sizes = [parameter.size for parameter in network.layout]
    for parameter, piece in zip(network.layout, torch.split(network.initial, sizes), strict=True):
        yield piece.view(parameter.shape)


def _misnamed(
    wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], constants: Constants
) -> Iterator[str]:
    held = {constants.aliases.get(name, name) for name in given}
    missing = [name for name in wanted if constants.aliases.get(name, name) not in held]
    extra = [name for name in given if name not in wanted]
    if missing:
        yield f"it lacks {_some(missing)}"
    if extra:
        yield f"it has {_some(extra)}, which the model has not"


def _misshapen(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> Iterator[str]:
    for name in sorted(wanted.keys() & given.keys()):
        here, there = wanted[name], given[name]
        if here.shape != there.shape:
            yield f"{name} is {list(there.shape)} in the file, {list(here.shape)} in the model"
        elif here.is_floating_point() != there.is_floating_point() or here.is_complex() != there.is_complex():
            yield f"{name} holds {_kind(there)} in the file, {_kind(here)} in the model"
        elif not there.isfinite().all() and here.isfinite().all():
            yield f"{name} holds NaN or infinity"
        elif not there.to(here.dtype).isfinite().all() and here.isfinite().all():
            yield f"{name} holds a number too large for {_kind(here)}"


def _untied(given: Mapping[str, Tensor], constants: Constants) -> Iterator[str]:
    first: dict[str, str] = {}
    for name in sorted(given):
        other = first.setdefault(constants.aliases.get(name, name), name)
        if other != name and not torch.equal(given[other], given[name]):
            yield f"{other} and {name} are one tensor in the model, two in the file"


def _kind(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _some(names: Iterable[str]) -> str:
    found = sorted(names)
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return ", ".join(found[:_NAMED]) + more
