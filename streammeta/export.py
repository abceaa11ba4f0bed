"""A state as named tensors for other programs: safetensors, no pickle.

`meta/<parameter>` are the meta-parameters, `task/<id>/<parameter>` a task's memory.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import safetensors.numpy

from streammeta.checkpoint import Checkpoint
from streammeta.errors import StateError, StreammetaError
from streammeta.events import Array
from streammeta.network import Layout


def metadata(checkpoint: Checkpoint) -> dict[str, str]:
    """What the file says of itself; `offsets` is JSON: partition -> next offset."""
    return {
        "step": str(checkpoint.progress.events),
        "algorithm": checkpoint.origin.algorithm,
        "config_hash": checkpoint.origin.config_hash,
        "offsets": json.dumps({str(p): offset for p, offset in sorted(checkpoint.positions.items())}),
    }


def tensors(checkpoint: Checkpoint, memories: Iterable[tuple[str, bytes]]) -> dict[str, Array]:
    """The meta-parameters, and each memory given as (task, raw numbers).

    Raises:
        StateError: the algorithm keeps no task memory.
    """
    layout, dtype = checkpoint.origin.layout, np.dtype(checkpoint.origin.dtype)
    found = {f"meta/{n}": value for n, value in _named(layout, checkpoint.state.params.numpy())}
    for task, raw in memories:
        if not raw:
            raise StateError(f"algorithm {checkpoint.origin.algorithm} keeps no task memory; export without")
        row = np.frombuffer(raw, dtype)
        found |= {f"task/{task}/{name}": value for name, value in _named(layout, row)}
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
