"""Checks of this machine: files, the HTTP port, the state directory and its disk. Nothing is written."""

import os
import shutil
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

from streammeta.config import Config
from streammeta.config.token import read_token
from streammeta.errors import ConfigError, StateError
from streammeta.programs.doctor.check import Check, fault, ok, warning
from streammeta.programs.exposure import exposures
from streammeta.programs.tried import file_lines
from streammeta.runtime.blueprint import Blueprint, restore
from streammeta.state.checkpoint import Checkpoint, unpack
from streammeta.state.directory import StateDirectory
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.memory_store import MemoryStore
from streammeta.web.guard import is_loopback
from streammeta.web.server import listen
from streammeta.wording import counted

_ASK_SECONDS: Final = 1.0
_READS: Final = 8
"""Of an answer, so many pieces are waited for."""
_LITTLE_BYTES: Final = 1 << 30
_NONE_BYTES: Final = 1 << 24
_MARK: Final = b"streammeta_build_info"
"""What the metrics of a daemon hold, whoever asks."""


def of_files(config: Config) -> Check | None:
    """The files that the configuration names beside `model.init`; None where there are none."""
    try:
        lines = [line.removeprefix("file: ") for line in file_lines(config)]
    except ConfigError as error:
        return fault("files", error)
    return ok("files", "\n".join(lines)) if lines else None


def of_port(config: Config, writer: str | None) -> Check:
    """Whether the daemon gets its HTTP port; `writer` is the daemon that writes to the state, if one does."""
    http = config.http
    address = f"http://{http.host}:{http.port}"
    try:
        listen(http.host, http.port).close()
    except ConfigError as error:
        if writer is not None and _is_ours(config):
            return ok("http", f"{address} is served by the streammeta daemon that runs")
        return fault("http", error)
    if not is_loopback(http.host) and not http.token_file:
        return warning(
            "http",
            f"{address} is free, and others than this machine will reach it without a token",
            "set http.token_file, or http.host to 127.0.0.1",
        )
    return ok("http", f"{address} is free" if http.port else f"the daemon takes a free port of {http.host}")


def _is_ours(config: Config) -> bool:
    host = config.http.host
    asked = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (nothing listens there)
    try:
        with closing(HTTPConnection(asked, config.http.port, timeout=_ASK_SECONDS)) as connection:
            token = read_token(config.http.token_file)
            connection.request(
                "GET", "/metrics", headers={"Authorization": f"Bearer {token}"} if token else {}
            )
            answer = connection.getresponse()
            return _MARK in b"".join(answer.read1() for _ in range(_READS))
    except (OSError, HTTPException, ValueError, ConfigError):
        return False


def of_state(config: Config, blueprint: Blueprint | None) -> Generator[Check, None, Checkpoint | None]:
    """Whether the state directory may be written to, and whether what it holds fits; the checkpoint if so."""
    path = config.state.dir
    directory, writer = StateDirectory(path), StateDirectory(path).writer()
    by_whom = f"; process {writer} writes to it, as a running daemon does" if writer else ""
    try:
        _refuse_unwritable(path)
        directory.refuse_remains()
        if not directory.lmdb_path.exists():
            yield ok("state", f"{path} holds no state yet: the daemon begins one{by_whom}")
            return None
        begun = _read(directory, blueprint)
    except StateError as error:
        yield fault("state", error)
        return None
    except OSError as error:
        yield fault(
            "state",
            StateError(f"state.dir = {str(path)!r}: {error.strerror}; see that this user may read it"),
        )
        return None
    if begun is None:
        yield ok("state", f"{path} holds no checkpoint yet{by_whom}")
        return None
    fits = "fits the configuration" if blueprint is not None else "is not compared, for want of a model"
    events = begun.progress.events
    yield ok(
        "state", f"{path} holds a state of {counted(events, 'event')}, which {fits}{by_whom}", events=events
    )
    return begun


def _refuse_unwritable(path: Path) -> None:
    """Refuse a directory that the daemon could not write to, or make.

    Raises:
        StateError: names the place and the remedy.
    """
    existing = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not existing.is_dir():
        raise StateError(f"state.dir = {str(path)!r}: {existing} is a file; name a directory")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise StateError(
            f"state.dir = {str(path)!r}: this user may not write to {existing}; name a directory on a local "
            "disk that it may write to"
        )


def _read(directory: StateDirectory, blueprint: Blueprint | None) -> Checkpoint | None:
    copy = copied(directory.path, ())
    if blueprint is not None:
        begun = restore(blueprint, copy)
        return begun if copy.load() is not None else None
    meta = copy.load()
    return None if meta is None else unpack(meta)


def copied(path: Path, tasks: Iterable[str]) -> MemoryStore:
    """What the state holds of these tasks and of no task in particular, as of its last commit, in memory.

    Nothing where there is no state.

    Raises:
        StateError: it cannot be read.
    """
    copy, lmdb_path = MemoryStore(), StateDirectory(path).lmdb_path
    if not lmdb_path.exists():
        return copy
    with closing(LmdbStore(lmdb_path, readonly=True)) as store, store.snapshot() as snapshot:
        meta = snapshot.load()
        if meta is not None:
            rows = {task: row for task in tasks if (row := snapshot.get(task)) is not None}
            copy.commit(meta, rows, snapshot.constants())
    return copy


def of_disk(config: Config) -> Check:
    """Free bytes where the state is, or will be."""
    path = config.state.dir.absolute()
    existing = next(place for place in (path, *path.parents) if place.exists())
    try:
        free = shutil.disk_usage(existing).free
    except OSError as error:
        return warning("disk", f"{existing} does not tell its free space: {error.strerror}")
    words = f"{_size(free)} free at {existing}"
    if free < _NONE_BYTES:
        return fault(
            "disk", StateError(f"{words}; make room, or set state.dir to another disk"), free_bytes=free
        )
    if free < _LITTLE_BYTES:
        return warning("disk", words, "a full disk stops the daemon: make room", free_bytes=free)
    return ok("disk", words, free_bytes=free)


def _size(count: int) -> str:
    """Bytes for people.

    >>> _size(12_300_000_000), _size(999)
    ('12.3 GB', '0.0 GB')
    """
    return f"{count / 1e9:,.1f} GB"


def of_machine(config: Config, blueprint: Blueprint | None) -> Generator[Check, None, Checkpoint | None]:
    """All of them; the checkpoint of a state that fits."""
    yield from _present(of_files(config))
    yield of_port(config, StateDirectory(config.state.dir).writer())
    for setting, risk, remedy in exposures(config):
        yield warning("network", f"{setting}: {risk}", remedy)
    begun = yield from of_state(config, blueprint)
    yield of_disk(config)
    return begun


def _present(check: Check | None) -> Iterator[Check]:
    if check is not None:
        yield check
