"""A user's module in the model's numbers and on its device, names that share a tensor still sharing it."""

from collections.abc import Iterator
from itertools import chain, pairwise

import torch
from torch import Tensor, nn

from streammeta.errors import ConfigError


def moved(module: nn.Module, dtype: torch.dtype, device: torch.device) -> nn.Module:
    """The module in these numbers, on this device; integers stay, so do complex buffers.

    `Module.to` alone makes two tensors of a buffer that has two names, and drops imaginary parts.

    Raises:
        ConfigError: a learned parameter shares memory with another tensor without being the same.
    """
    _refuse_views(module)
    names: dict[int, list[str]] = {}
    for name, tensor in tensors_of(module):
        names.setdefault(id(tensor), []).append(name)
    whole = {
        name: value for name, value in module.named_buffers(remove_duplicate=False) if value.is_complex()
    }
    for name in whole:
        _replace_buffer(module, name, torch.empty(0))
    module = module.to(dtype).to(device)
    for name, value in whole.items():
        _replace_buffer(module, name, value.to(device))
    buffers = dict(module.named_buffers(remove_duplicate=False))
    for name, value in buffers.items():
        if 0 in value.stride():  # an expanded buffer cannot be loaded into
            _replace_buffer(module, name, value.contiguous())
    now = dict(tensors_of(module))
    for first, *others in names.values():
        for name in others:
            if name in buffers:
                _replace_buffer(module, name, now[first])
    return module


def ties_of(module: nn.Module) -> dict[str, str]:
    """Further places that hold a learned parameter -> the name under which it is learned.

    A place is a submodule and an attribute of it: a submodule with two names is one place.
    """
    learned = {id(value): name for name, value in module.named_parameters() if value.requires_grad}
    found = {}
    for path, submodule in module.named_modules():
        own = chain(
            submodule.named_parameters(recurse=False, remove_duplicate=False),
            submodule.named_buffers(recurse=False, remove_duplicate=False),
        )
        for leaf, tensor in own:
            place = f"{path}.{leaf}" if path else leaf
            name = learned.get(id(tensor), place)
            if name != place:
                found[place] = name
    return found


def tensors_of(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """All parameters and buffers, by each of their names."""
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def _replace_buffer(module: nn.Module, name: str, value: Tensor) -> None:
    path, _, leaf = name.rpartition(".")
    # `setattr` would make a parameter of a buffer that is tied to one
    module.get_submodule(path)._buffers[leaf] = value


def _refuse_views(module: nn.Module) -> None:
    """In plain PyTorch such tensors move together or not as the dtype happens to be; here never."""
    spans = []
    for name, tensor in {id(t): (n, t) for n, t in reversed([*tensors_of(module)])}.values():
        if tensor.layout == torch.strided and tensor.numel():
            last = sum(
                (size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
            )
            begin = tensor.data_ptr()
            spans.append((begin, begin + (last + 1) * tensor.element_size(), name, tensor.requires_grad))
    for (_, end, name, learned), (begin, _, other, also) in pairwise(sorted(spans)):
        if begin < end and (learned or also):
            raise ConfigError(
                f"model.factory: {name} and {other} share memory without being one tensor; assign the "
                "parameter itself to tie them (a.weight = b.weight), or clone() one of them"
            )
