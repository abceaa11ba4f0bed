"""States on disk without a daemon: numbered commits of a small model, each consistent in itself."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from streammeta.algorithms.base import State
from streammeta.models.network import Parameter
from streammeta.state.checkpoint import Checkpoint, Origin, pack
from streammeta.state.directory import StateDirectory
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.progress import Progress
from streammeta.state.store import TaskRow, TaskStats

LAYOUT = (Parameter("0.weight", (1, 2)), Parameter("0.bias", (1,)))
TASKS = ("a/1", "b", "ünï")


def checkpoint_of(number: int = 5, **changes: Any) -> Checkpoint:
    """A checkpoint after `number` events; the meta-parameters are `number`, and then some."""
    made: dict[str, Any] = {
        "origin": Origin({"algorithm": {"name": "moml"}}, "ab" * 32, LAYOUT, "float32"),
        "state": State(
            torch.tensor([number, number + 0.25, number + 0.5], dtype=torch.float32),
            {"momentum": torch.zeros(3)},
            {},
            torch.tensor(0.1),
            torch.tensor(0.2),
        ),
        "progress": Progress(events=number),
        "positions": {2: 7, 0: number, 10: 1},
        "refused": {"bad_tensor": 2},
    }
    return Checkpoint(**(made | changes))


def row_of(number: int, **stats: Any) -> TaskRow:
    """A row whose memory is three times `number`, float32."""
    known = {"events": 1, "last_event": number, "last_seen_ms": 1_700_000_000_123, "loss_meta": 3.0}
    return TaskRow(TaskStats(**(known | stats)), np.full(3, number, np.float32).tobytes())


def rows(number: int = 5) -> dict[str, TaskRow]:
    """The three tasks: of falling loss and rising count; the last one was seen once, and has no loss."""
    return {
        "a/1": row_of(number, events=2, loss_adapted=2.0, loss_memory=1.0, last_event=number),
        "b": row_of(number, events=3, loss_adapted=9.0, loss_memory=8.0, last_event=1),
        "ünï": row_of(number, events=1, last_event=3, loss_meta=float("inf")),
    }


def make_state(directory: Path, tasks: Mapping[str, TaskRow] | None = None) -> Path:
    """A state directory with one commit after five events; default: the three tasks."""
    with StateDirectory(directory) as made:
        store = LmdbStore(made.lmdb_path)
        store.commit(pack(checkpoint_of()), rows() if tasks is None else tasks)
        store.close()
    return directory


def commit_for_ever(directory: Path) -> None:
    """Commit state after state, printing each number, until killed: `python -m tests.states DIRECTORY`."""
    with StateDirectory(directory) as made:
        store = LmdbStore(made.lmdb_path)
        number = 0
        while True:
            number += 1
            store.commit(pack(checkpoint_of(number)), {task: row_of(number) for task in TASKS})
            print(number, flush=True)


if __name__ == "__main__":
    commit_for_ever(Path(sys.argv[1]))
