"""What of a model no event changes: frozen parameters and buffers; and which names share one tensor.

A model's `state_dict` is its learned parameters, its constants, and further names of both. Buffers that are
not persistent stand in no `state_dict`; they are known by their hash alone.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from streammeta.errors import ConfigError, StateError
from streammeta.events import Array
from streammeta.models.placement import tensors_of
from streammeta.models.tensor_file import CODES, packed

_EXTRA = "_extra_state"  # how PyTorch names what `get_extra_state` returns


@dataclass(frozen=True, slots=True)
class Constants:
    """The constants of a model, on the CPU.

    Attributes:
        values: Name -> value of frozen parameters and persistent buffers; one name of each tensor.
        aliases: Further names -> the name, learned or constant, whose tensor they share.
        digests: Name -> SHA-256 of dtype, shape and bytes: of `values`, and of buffers not persistent.
    """

    values: Mapping[str, Tensor] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def hash(self) -> str:
        """SHA-256 of digests and aliases, in hexadecimal."""
        text = json.dumps([self.digests, self.aliases], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def forms(self) -> dict[str, tuple[torch.dtype, torch.Size]]:
        """Numbers and shapes of the values."""
        return {name: (value.dtype, value.shape) for name, value in self.values.items()}

    def complete(self, learned: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The whole `state_dict` with these learned parameters, each name with its value."""
        known = {**learned, **self.values}
        return known | {name: known[holder] for name, holder in self.aliases.items()}

    def passing(self) -> dict[str, str]:
        """The digests of what stands in no `state_dict`."""
        return {name: digest for name, digest in self.digests.items() if name not in self.values}


def constants_of(module: nn.Module) -> Constants:
    """The constants as they are now. Costs a copy and a hash of each, about 3 s a GB.

    Raises:
        ConfigError: `state_dict` holds what no file can hold, or what is neither parameter nor buffer.
    """
    learned = {id(value): name for name, value in module.named_parameters() if value.requires_grad}
    entries = _entries(module, learned)
    holders, values, aliases = dict(learned), dict[str, Tensor](), dict[str, str]()
    for name, tensor in entries.items():
        holder = holders.setdefault(id(tensor), name)
        if holder != name:
            aliases[name] = holder
        elif id(tensor) not in learned:
            values[name] = torch.from_numpy(np.array(_array(name, tensor), order="C"))
    passing = {
        name: value
        for name, value in module.named_buffers(remove_duplicate=False)
        if name not in entries and id(value) not in learned
    }
    digests = {name: digest(_array(name, value)) for name, value in (values | passing).items()}
    return Constants(values, aliases, digests)


def digest(array: Array) -> str:
    """SHA-256 of dtype, shape and bytes, in hexadecimal."""
    found = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    found.update(array.tobytes())
    return found.hexdigest()


def pack_constants(constants: Constants) -> bytes:
    """As the store keeps them: safetensors, names in the metadata."""
    arrays = {name: _array(name, value) for name, value in constants.values.items()}
    about = {"aliases": constants.aliases, "digests": constants.digests}
    return packed(arrays, {key: json.dumps(table, sort_keys=True) for key, table in about.items()})


def unpack_constants(raw: bytes, expected: str) -> Constants:
    """The inverse; nothing at all, as a state before there were any holds it, is no constants.

    Args:
        raw: What the store kept.
        expected: The hash that the state's document gives.

    Raises:
        StateError: damaged; names the first value that is.
    """
    if not raw:
        return Constants()
    try:
        values = safetensors.torch.load(raw)
        header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
        about = {key: json.loads(text) for key, text in header["__metadata__"].items()}
        found = Constants(values, _texts(about["aliases"]), _texts(about["digests"]))
    except (ValueError, KeyError, TypeError, AttributeError, safetensors.SafetensorError) as error:
        raise _damaged(repr(error)) from error
    for name, value in values.items():
        if found.digests.get(name) != digest(value.numpy()):
            raise _damaged(f"{name} has other bytes than were written")
    if found.hash != expected:
        raise _damaged("they are not those that the state's document names")
    return found


def take_constants(module: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Put these values, which `constants_of` named, into the module."""
    module.load_state_dict(dict(values), strict=False)


def differences_of(stored: Constants, now: Constants) -> list[str]:
    """The names in which two differ, each with how, in order."""
    lines = []
    for name in sorted({*stored.digests, *now.digests} | {*stored.aliases, *now.aliases}):
        was, is_ = _kind(stored, name), _kind(now, name)
        if was != is_:
            lines.append(f"{name} was {was}, now it is {is_}")
        elif stored.digests.get(name) != now.digests.get(name):
            lines.append(f"{name} has other values")
    return lines


def check_constants(stored: Constants, now: Constants) -> None:
    """Refuse a model whose constants are not those that the state was learned with.

    Raises:
        StateError: names each that differs, and the remedy.
    """
    lines = differences_of(stored, now)
    if lines:
        raise StateError(
            "the state does not fit the model: its frozen parameters and buffers are others\n  "
            + "\n  ".join(lines)
            + "\nlet the factory give the values that the state was learned with (the same file, the same "
            "random numbers: seed what torch does not draw), or set state.dir to a new directory"
        )


def _kind(constants: Constants, name: str) -> str:
    if name in constants.aliases:
        return f"tied to {constants.aliases[name]}"
    if name in constants.values:
        value = constants.values[name]
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    return "a buffer that is not persistent" if name in constants.digests else "no constant"


def _entries(module: nn.Module, learned: Mapping[int, str]) -> dict[str, Tensor]:
    """The `state_dict` with the tensors themselves."""
    entries: dict[str, Any] = dict(module.state_dict(keep_vars=True))
    own = {id(tensor) for _, tensor in tensors_of(module)}
    for name, value in entries.items():
        extra = name.rpartition(".")[2] == _EXTRA
        if not isinstance(value, Tensor) or not (extra or id(value) in own):
            what = "the extra state of a layer" if extra else "neither a parameter nor a buffer"
            raise ConfigError(
                f"model.factory: state_dict() holds {name}, which is {what} ({type(value).__name__}) and "
                "cannot be kept with the parameters; make it a buffer, or leave it out"
            )
    for name in learned.values():
        if name not in entries:
            raise ConfigError(
                f"model.factory: state_dict() does not hold the parameter {name} under its name, so that "
                "no export could be loaded; leave out the hook that renames it"
            )
    return entries


def _array(name: str, value: Tensor) -> Array:
    try:
        array: Array = value.detach().cpu().resolve_conj().resolve_neg().numpy()
    except (TypeError, RuntimeError) as error:
        raise _unfit(name, value) from error
    if array.dtype not in CODES:
        raise _unfit(name, value)
    return array


def _unfit(name: str, value: Tensor) -> ConfigError:
    kind = str(value.dtype if value.layout == torch.strided else value.layout).removeprefix("torch.")
    return ConfigError(
        f"model.factory: {name} is {kind}, which no state can hold; make it dense, real or complex64"
    )


def _texts(table: Any) -> dict[str, str]:
    return {str(key): str(value) for key, value in table.items()}


def _damaged(how: str) -> StateError:
    return StateError(
        f"the state's frozen parameters and buffers are damaged ({how}); restore a copy, or begin anew"
    )
