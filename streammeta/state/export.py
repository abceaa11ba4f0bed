"""A state as named tensors for other programs: safetensors, no pickle.

`meta/<name>` is the model's whole `state_dict` at the meta-parameters, `task/<id>/<name>` the same at the
parameters that a task's memory means: each can be loaded strictly. The file speaks of its state alone, so
that the same state gives the same bytes.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from streammeta import __version__
from streammeta.algorithms.base import State
from streammeta.config.secret import masked
from streammeta.errors import StateError, StreammetaError
from streammeta.events import Array
from streammeta.models.constants import Constants
from streammeta.models.network import unflatten
from streammeta.models.tensor_file import Form, form_of, pieces
from streammeta.state.checkpoint import Checkpoint

LEARNED_ALONE: Final = (
    "learned parameters alone: the state was written by an earlier version, which did not keep buffers, "
    "frozen and tied parameters; one run of this version on the state adds them"
)
"""Said of an export that is not the whole `state_dict`."""

TaskParams = Callable[[State, Tensor], Tensor]
"""(state, memory (M,)) -> the task's parameters (d,)."""


def metadata(checkpoint: Checkpoint, constants: Constants) -> dict[str, str]:
    """What the file says of itself; all but numbers and names is JSON.

    `offsets` maps a partition to its next offset; `buffers` holds the SHA-256 of those buffers that are in
    no `state_dict`; `note` stands there alone where the state knows learned parameters only.
    """
    fit = checkpoint.origin.fit
    note = {} if checkpoint.origin.constants else {"note": LEARNED_ALONE}
    model = {key: value for key, value in fit.get("model", {}).items() if key in ("factory", "args", "seed")}
    rate = str(checkpoint.state.inner_lr.numpy()[()])  # the shortest text that means this number
    return {
        "step": str(checkpoint.progress.events),
        "algorithm": checkpoint.origin.algorithm,
        "algorithm_settings": _json({**fit["algorithm"], "inner_lr": float(rate)}),
        "buffers": _json(constants.passing()),
        "config_hash": checkpoint.origin.config_hash,
        "dtype": checkpoint.origin.dtype,
        "inner_lr": rate,
        "loss": str(fit.get("model", {}).get("loss", "")),
        "model": _json(masked(("model",), model)),
        "offsets": json.dumps({str(p): offset for p, offset in sorted(checkpoint.positions.items())}),
        "streammeta": __version__,
        "torch": str(torch.__version__),
        **note,
    }


@dataclass(frozen=True)
class Exported:
    """The tensors of an export, computed when they are asked for: one task's at a time.

    Attributes:
        checkpoint, constants: The state, from one commit.
        tasks: Those that are exported beside the meta-parameters.
        memory_of: A task's raw numbers, from the same commit.
        task_params: That of the learner that made the state; None where it keeps none.
    """

    checkpoint: Checkpoint
    constants: Constants
    tasks: Sequence[str] = ()
    memory_of: Callable[[str], bytes] = lambda _: b""
    task_params: TaskParams | None = None

    def meta(self) -> dict[str, Array]:
        """The `state_dict` at the meta-parameters."""
        return self._named(self.checkpoint.state.params)

    def task(self, task: str) -> dict[str, Array]:
        """The `state_dict` at the task's parameters.

        Raises:
            StateError: the algorithm keeps no parameters of a task.
        """
        origin = self.checkpoint.origin
        if self.task_params is None:
            raise StateError(
                f"algorithm {origin.algorithm} keeps no parameters of a task; export without tasks"
            )
        row = torch.from_numpy(np.frombuffer(self.memory_of(task), np.dtype(origin.dtype)).copy())
        return self._named(self.task_params(self.checkpoint.state, row))

    def _named(self, flat: Tensor) -> dict[str, Array]:
        layout = self.checkpoint.origin.layout
        if flat.numel() != sum(parameter.size for parameter in layout):
            raise StateError(
                f"the state is damaged: {flat.numel()} numbers where its parameters have "
                f"{sum(parameter.size for parameter in layout)}; restore it from a copy"
            )
        whole = self.constants.complete(unflatten(layout, flat))
        return {name: value.numpy() for name, value in whole.items()}


def write(path: Path, exported: Exported) -> int:
    """Write the file whole, then put it in its place; how many tensors a `state_dict` has.

    Takes the memory of one task's parameters, and the file's list of names.

    Raises:
        StreammetaError: it cannot be written there.
        StateError: the algorithm keeps no parameters of a task.
    """
    meta = exported.meta()
    if exported.tasks:
        exported.task(exported.tasks[0])  # refused before anything is written
    forms = {
        f"{prefix}{name}": form_of(array) for prefix in _prefixes(exported) for name, array in meta.items()
    }
    owners = {f"task/{task}/{name}": (task, name) for task in exported.tasks for name in meta}
    newest = lru_cache(maxsize=1)(exported.task)

    def read(key: str) -> Array:
        if key not in owners:
            return meta[key.removeprefix("meta/")]
        task, name = owners[key]
        return newest(task)[name]

    _write(path, forms, read, metadata(exported.checkpoint, exported.constants))
    return len(meta)


def _prefixes(exported: Exported) -> Iterator[str]:
    yield "meta/"
    for task in exported.tasks:
        yield f"task/{task}/"


def _write(
    path: Path, forms: Mapping[str, Form], read: Callable[[str], Array], about: Mapping[str, str]
) -> None:
    partial = path.parent / (path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.writelines(pieces(forms, read, about))
        partial.replace(path)
    except OSError as error:
        raise StreammetaError(f"--output {path}: cannot be written ({error}); name another file") from error
    finally:
        with suppress(OSError):
            partial.unlink()


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
