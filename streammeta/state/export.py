"""A state as named tensors for other programs: safetensors, no pickle.

`meta/<parameter>` are the meta-parameters, `task/<id>/<parameter>` the parameters that a task's memory means.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
from torch import Tensor

from streammeta.algorithms.base import State
from streammeta.errors import StateError, StreammetaError
from streammeta.events import Array
from streammeta.models.network import Layout
from streammeta.state.checkpoint import Checkpoint


def metadata(checkpoint: Checkpoint) -> dict[str, str]:
    """What the file says of itself; `offsets` is JSON: partition -> next offset."""
    return {
        "step": str(checkpoint.progress.events),
        "algorithm": checkpoint.origin.algorithm,
        "config_hash": checkpoint.origin.config_hash,
        "offsets": json.dumps({str(p): offset for p, offset in sorted(checkpoint.positions.items())}),
    }


TaskParams = Callable[[State, Tensor], Tensor]


def meta_tensors(checkpoint: Checkpoint) -> dict[str, Array]:
    """The meta-parameters."""
    params = checkpoint.state.params.numpy()
    return {f"meta/{name}": value for name, value in _named(checkpoint.origin.layout, params)}


def task_tensors(
    checkpoint: Checkpoint, memories: Iterable[tuple[str, bytes]], task_params: TaskParams | None
) -> dict[str, Array]:
    """The parameters of each task whose memory is given as (task, raw numbers).

    Args:
        checkpoint: The state that the memories belong to.
        memories: From the same commit.
        task_params: That of the learner that made the state.

    Raises:
        StateError: the algorithm keeps no parameters of a task.
    """
    if task_params is None:
        raise StateError(
            f"algorithm {checkpoint.origin.algorithm} keeps no parameters of a task; export without tasks"
        )
    dtype = np.dtype(checkpoint.origin.dtype)
    found: dict[str, Array] = {}
    for task, raw in memories:
        row = torch.from_numpy(np.frombuffer(raw, dtype).copy())
        params = task_params(checkpoint.state, row).numpy()
        found |= {f"task/{task}/{name}": value for name, value in _named(checkpoint.origin.layout, params)}
    return found


def write(path: Path, arrays: Mapping[str, Array], about: Mapping[str, str]) -> None:
    """Write the file whole, then put it in its place.

    Raises:
        StreammetaError: it cannot be written there.
    """
    partial = path.parent / (path.name + ".partial")
    # safetensors writes the memory as it lies, also that of a strided view
    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    try:
        safetensors.numpy.save_file(whole, partial, metadata=dict(about))
        partial.replace(path)
    except (OSError, safetensors.SafetensorError) as error:
        with suppress(OSError):
            partial.unlink()
        raise StreammetaError(f"--output {path}: cannot be written ({error}); name another file") from error


def _named(layout: Layout, flat: Array) -> Iterator[tuple[str, Array]]:
    """Each parameter by name from the flat vector (d,)."""
    begin = 0
    for parameter in layout:
        yield parameter.name, flat[begin : begin + parameter.size].reshape(parameter.shape)
        begin += parameter.size
