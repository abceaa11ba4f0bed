"""What the tests of the doctor share: a configuration, records, a state that fits."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from streammeta.config import Config, load_config
from streammeta.events import Record
from streammeta.runtime.blueprint import Blueprint, restore
from streammeta.state.checkpoint import pack
from streammeta.state.directory import StateDirectory
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.memory_store import MemoryStore

MSGPACK_HEADERS = (("content-type", b"application/msgpack"),)
SET = {"x": [[0.1, 0.2], [0.3, 0.4]], "y": [[0.5], [0.6]]}
EPISODE = {"support": SET, "query": SET}


def config_of(directory: Path, *settings: str) -> Config:
    """A small first-order learner whose state would be in `directory`."""
    base = (
        f"state.dir={directory / 'state'}",
        "model.args.sizes=[2, 2, 1]",
        "algorithm.order=first",
        "http.port=0",
        "kafka.connect_timeout_seconds=60",
    )
    return load_config(None, [*base, *settings], {})


def record(value: Any, offset: int = 0, key: bytes | None = b"task-0", **changes: Any) -> Record:
    """A record; what is no bytes is written as JSON."""
    body = value if isinstance(value, bytes | None) else json.dumps(value).encode()
    return Record("tasks", 0, offset, offset, key, body)._replace(**changes)


def records(*values: Any) -> list[Record]:
    """One of each value."""
    return [record(value, offset) for offset, value in enumerate(values)]


def make_state(config: Config, blueprint: Blueprint, **changes: Any) -> Path:
    """A state with one commit in the configuration's directory."""
    checkpoint = replace(restore(blueprint, MemoryStore()), **changes)
    with StateDirectory(config.state.dir) as directory:
        store = LmdbStore(directory.lmdb_path)
        store.commit(pack(checkpoint), {})
        store.close()
    return config.state.dir


def bytes_of(directory: Path, without: Sequence[str] = ("lock.mdb",)) -> dict[str, bytes]:
    """Every file's content; LMDB's table of readers aside, which any reader enters itself into."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name not in without
    }
