"""States, recordings and exports as versions wrote them: every later version opens them, or says the way on.

A folder per version that changed a format: `learner.toml`, `state/` (of the first events of `recording/`),
`export.safetensors` of that state, and `facts.json`: what the state held, and what it came to when the rest
of the recording was learned. They are never made anew; `python -m tests.state.kept VERSION` makes one more.
"""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from streammeta.config import load_config
from streammeta.events import Record
from streammeta.recording.flight import FlightRecorder
from streammeta.recording.reader import Recording
from streammeta.runtime.assembly import assemble
from streammeta.runtime.blueprint import build_blueprint, restore
from streammeta.runtime.tape import NoTape
from streammeta.state.buffers import unpack_buffer
from streammeta.state.checkpoint import unpack
from streammeta.state.directory import StateDirectory
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.order_log import OrderLog
from tests.scripted import CollectedDeadLetters, ScriptedSource

HERE = Path(__file__).parent


def learn(folder: Path, state: Path, records: Sequence[Record], recording: Path | None = None) -> None:
    """Let the state go on from these records, as the folder's configuration says; and record, where asked."""
    config = load_config(folder / "learner.toml", ())
    blueprint = build_blueprint(config)
    with StateDirectory(state) as directory, closing(LmdbStore(directory.lmdb_path)) as store:
        begun = restore(blueprint, store)
        tape = FlightRecorder(recording, "tasks", begun) if recording else NoTape()
        assemble(
            config,
            blueprint,
            begun,
            source=ScriptedSource(records, lambda: 7),
            dead_letters=CollectedDeadLetters([]),
            store=store,
            order_log=OrderLog(directory.order_log_path),
            tape=tape,
        ).run(until_end=True)
        if isinstance(tape, FlightRecorder):
            tape.__exit__(None, None, None)


def records_of(recording: Path) -> list[Record]:
    """All that the recording holds."""
    chunks = Recording(recording).chunks()
    return [record for chunk in chunks for record in chunk.records("tasks")]


def facts(state: Path) -> dict[str, Any]:
    """What the state holds, as JSON can tell it: every number, with all its digits."""
    store = LmdbStore(StateDirectory(state).lmdb_path, readonly=True)
    with closing(store), store.snapshot() as snapshot:
        meta = snapshot.load()
        assert meta is not None
        held, rows = unpack(meta), {task: snapshot.get(task) for task, _ in snapshot.stats()}
        ids = len(snapshot.ids())
    return {
        "parameters": {parameter.name: list(parameter.shape) for parameter in held.origin.layout},
        "settings": held.origin.fit,
        "params": held.state.params.tolist(),
        "momentum": held.state.outer["momentum"].tolist(),
        "events": held.progress.events,
        "means": {
            name: list(getattr(held.progress.prequential, name)) for name in ("meta", "adapted", "memory")
        },
        "positions": {str(partition): offset for partition, offset in sorted(held.positions.items())},
        "refused": dict(held.refused),
        "tally": held.tally._asdict(),
        "quarantine": {task: list(since) for task, since in held.quarantine.items()},
        "blocks_of_ids": ids,
        "tasks": {task: _task(row) for task, row in rows.items()},
    }


def _task(row: Any) -> dict[str, Any]:
    buffer, samples = unpack_buffer(row.buffer)
    return {
        "stats": row.stats._asdict(),
        "memory": np.frombuffer(row.memory, np.float64).tolist(),
        "examples": [] if buffer.examples is None else [array.tolist() for array in buffer.examples],
        "halves": {
            name: [half.part, half.array.tolist(), half.since] for name, half in buffer.halves.items()
        },
        "since": buffer.since,
        "samples": [[sample.loss, *(array.tolist() for array in sample.query)] for sample in samples],
        "waiting": row.waiting,
    }
