"""A client's memory u_i, in Flower's client state and, where wanted, in a file of the client's own.

It is kept under the number of the round that made it, with the one before: a round that the server makes
again, after a crash or because it was given up, finds the memory as it was before that round.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import safetensors
import safetensors.numpy
import torch
from torch import Tensor

from streammeta.errors import StateError
from streammeta.events import Array

if TYPE_CHECKING:
    from flwr.app import Context

MEMORY: Final = "memory"
KEPT: Final = 2
"""Rounds whose memory is kept: the last one, and the one before it."""


def recalled(context: "Context", number: int, file: Path | None = None) -> Tensor | None:
    """The memory (d,) as it was before round `number`; None where there is none.

    Raises:
        StateError: the file cannot be read.
    """
    kept = {made: memory for made, memory in _kept(context, file).items() if made < number}
    return torch.from_numpy(kept[max(kept)].copy()) if kept else None


def remember(context: "Context", number: int, memory: Tensor, file: Path | None = None) -> None:
    """Keep the memory that round `number` made.

    Raises:
        StateError: the file cannot be written.
    """
    from flwr.app import Array as FlowerArray
    from flwr.app import ArrayRecord

    before = {made: kept for made, kept in _kept(context, file).items() if made < number}
    rounds = {**before, number: memory.detach().cpu().numpy()}
    last = {made: np.ascontiguousarray(rounds[made]) for made in sorted(rounds)[-KEPT:]}
    context.state[MEMORY] = ArrayRecord({str(made): FlowerArray(kept) for made, kept in last.items()})
    if file is not None:
        _write(file, last)


def file_of(directory: Path, name: str) -> Path:
    """Where the client of this name keeps its memory: any name is a file name after a hash."""
    return directory / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.safetensors"


def _kept(context: "Context", file: Path | None) -> dict[int, Array]:
    """By round: what the client state holds, else what the file holds."""
    if MEMORY in context.state:
        record = context.state.array_records[MEMORY]
        return {int(made): array.numpy() for made, array in record.items()}
    return {} if file is None else _read(file)


def _read(file: Path) -> dict[int, Array]:
    try:
        return {int(made): kept for made, kept in safetensors.numpy.load_file(file).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise StateError(
            f"{file}: a client's memory, cannot be read ({error}); restore it from a copy, or remove it: the "
            "client then begins a new one"
        ) from error


def _write(file: Path, rounds: Mapping[int, Array]) -> None:
    """Whole or not at all, and on the disk when it returns."""
    part = file.with_suffix(f".{os.getpid()}.part")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with part.open("wb") as written:
            part.chmod(0o600)
            written.write(safetensors.numpy.save({str(made): kept for made, kept in rounds.items()}))
            written.flush()
            os.fsync(written.fileno())
        part.replace(file)
    except OSError as error:
        raise StateError(
            f"{file}: a client's memory, cannot be written ({error.strerror}); name a directory on a local "
            "disk that this user may write to"
        ) from error
