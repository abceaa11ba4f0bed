"""streammeta as a library."""

import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor, nn

from streammeta.config.secret import MASK
from streammeta.errors import StreammetaError
from streammeta.library.learner import Learner
from streammeta.library.lesson import Lesson, Taught
from streammeta.models.constants import constants_of
from streammeta.models.loading import load_callable
from streammeta.models.network import DTYPES
from streammeta.models.placement import moved
from streammeta.models.randomness import seeded

__all__ = ["Learner", "Lesson", "Taught", "load_export"]


def load_export(
    path: str | Path, factory: Callable[..., nn.Module] | str, task: str | None = None
) -> nn.Module:
    """The model of an export as a plain module: at the meta-parameters, or at a task's own.

    Args:
        path: What `streammeta export` wrote.
        factory: Makes the module: a callable, or "package.module:callable". It is called with the
            `model.args` that the file tells where it takes them, else without arguments; under the seed
            that the file tells.
        task: A task that was exported.

    Raises:
        StreammetaError: the file is no export, holds no such task, or is not of this factory's model.

    >>> load_export("absent.safetensors", nn.Flatten)
    Traceback (most recent call last):
    streammeta.errors.StreammetaError: absent.safetensors: No such file or directory...
    """
    about, values = _read(Path(path), task)
    module = moved(_made(path, factory, about), DTYPES[about["dtype"]], torch.device("cpu"))
    try:
        module.load_state_dict(values, strict=True)
    except RuntimeError as error:  # PyTorch's text names each difference
        raise StreammetaError(f"{path} is not of this model: {error}") from error
    _check_buffers(path, module, json.loads(about["buffers"]))
    return module


def _read(path: Path, task: str | None) -> tuple[Mapping[str, str], dict[str, Tensor]]:
    """The metadata, and the `state_dict`."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            about, keys = file.metadata() or {}, set(file.keys())
            if not {"step", "dtype", "model", "buffers"} <= about.keys():
                raise StreammetaError(f"{path} was not written by streammeta export, or by an older version")
            names = [key.removeprefix("meta/") for key in sorted(keys) if key.startswith("meta/")]
            prefix = "meta/" if task is None else f"task/{task}/"
            if not all(prefix + name in keys for name in names):
                raise StreammetaError(
                    f"{path} holds no task {task!r}; write it with: streammeta export --task {task}"
                )
            return about, {name: file.get_tensor(prefix + name) for name in names}
    except OSError as error:
        raise StreammetaError(
            f"{path}: {error.strerror or error}; name a file of streammeta export"
        ) from error
    except safetensors.SafetensorError as error:
        raise StreammetaError(f"{path} is no safetensors file ({error})") from error


def _made(path: str | Path, factory: Callable[..., nn.Module] | str, about: Mapping[str, str]) -> nn.Module:
    build = load_callable(factory, "factory") if isinstance(factory, str) else factory
    model = json.loads(about["model"])
    args = model.get("args", {})
    if not _takes(build, args):
        args = {}
    elif MASK in json.dumps(args):
        raise StreammetaError(
            f"{path} does not tell all of model.args, some are secret; give a factory without arguments"
        )
    with seeded(model.get("seed", 0)):
        return build(**args)


def _takes(build: Callable[..., Any], args: Mapping[str, Any]) -> bool:
    try:
        inspect.signature(build).bind(**args)
    except (TypeError, ValueError):  # other names; or no signature can be had
        return False
    return True


def _check_buffers(path: str | Path, module: nn.Module, wanted: Mapping[str, str]) -> None:
    """What stands in no `state_dict` comes from the factory; it must be what was learned with."""
    found = constants_of(module).passing()
    differ = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
    if differ:
        raise StreammetaError(
            f"{path} was learned with other values of {', '.join(differ)}, buffers that no state_dict holds; "
            "make the factory give those values, or register them with persistent=True"
        )
