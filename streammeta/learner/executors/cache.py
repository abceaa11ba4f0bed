"""Compiled steps on disk, between runs; `traces` lie beside them.

    DIRECTORY/NAME.so      the library
    DIRECTORY/NAME.json    {"key", "conditions", "microseconds", "seconds", "sha256"}

Invariant: a library is loaded only from a directory that no other user can write to, only where it belongs
to this user, and only where it is the one that was written; else it is made again. Files appear whole, the
description last.
"""

import hashlib
import json
import os
import re
import secrets
import stat
from pathlib import Path
from typing import Any, Final, NamedTuple

from streammeta.errors import ConfigError
from streammeta.events import Conditions

MAX_LIBRARIES: Final = 128
"""Libraries kept; each is about 200 kB. The ones used longest ago go."""

_NAME: Final = re.compile(r"[0-9a-f]+")
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


class Library(NamedTuple):
    """A compiled step on disk.

    Attributes:
        name, key, conditions: See `identity`.
        microseconds: What a call took, by form.
        seconds: What compiling took.
        path: The library.
    """

    name: str
    key: str
    conditions: Conditions
    microseconds: dict[str, float]
    seconds: float
    path: Path

    @property
    def form(self) -> str:
        """In which it was compiled."""
        return self.conditions.form


def default_directory() -> Path:
    """`streammeta` below $XDG_CACHE_HOME, else below ~/.cache."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(home) if Path(home).is_absolute() else Path("~/.cache").expanduser()
    return base / "streammeta"


class Cache:
    """The libraries in one directory. Several processes may use it at once."""

    def __init__(self, directory: Path) -> None:
        """Make the directory where absent, for this user alone.

        Raises:
            ConfigError: it cannot be made, belongs to someone else, or others may write to it.
        """
        self.directory = directory
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _refuse_foreign(directory)
        except OSError as error:
            raise ConfigError(
                f'engine.cache_dir = "{directory}": {error.strerror}; name a directory that this user '
                "may write to"
            ) from error

    def find(self, key: str) -> Library | None:
        """The fastest sound library of this key."""
        found = [library for library in self._all() if library.key == key]
        found.sort(key=lambda library: (library.microseconds.get(library.form, 0.0), library.name))
        return next((library for library in found if self.get(library.name) is not None), None)

    def get(self, name: str) -> Library | None:
        """The library of this name; None where it is absent, damaged, or not this user's.

        A state or a recording may say any name: one that would lead elsewhere is none.
        """
        if not _NAME.fullmatch(name):
            return None
        library = self._described(self.directory / f"{name}.json")
        if library is None or not _sound(library.path, self._digest(name)):
            return None
        os.utime(library.path)
        return library

    def put(self, built: Path, name: str, about: dict[str, Any]) -> Library:
        """Keep the library at `built`, which is moved; the oldest beyond `MAX_LIBRARIES` go.

        Raises:
            OSError: the disk is full or fails.
        """
        built.chmod(0o600)
        content = {**about, "sha256": hashlib.sha256(built.read_bytes()).hexdigest()}
        built.replace(self.directory / f"{name}.so")
        new = self.directory / f".{secrets.token_hex(8)}.json"
        new.write_text(json.dumps(content))
        new.replace(self.directory / f"{name}.json")
        self._shrink(name)
        library = self.get(name)
        if library is None:
            raise OSError(0, f"{self.directory / name}.so is not what was written")
        return library

    def _all(self) -> list[Library]:
        described = (self._described(path) for path in sorted(self.directory.glob("[0-9a-f]*.json")))
        return [library for library in described if library is not None]

    def _described(self, path: Path) -> Library | None:
        try:
            about = json.loads(path.read_bytes())
            del about["sha256"]
            about["conditions"] = Conditions(**about["conditions"])
            return Library(name=path.stem, path=path.with_suffix(".so"), **about)
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _digest(self, name: str) -> str:
        return str(json.loads((self.directory / f"{name}.json").read_bytes())["sha256"])

    def _shrink(self, kept: str) -> None:
        libraries = sorted(self.directory.glob("[0-9a-f]*.so"), key=_used)
        for path in libraries[: max(0, len(libraries) - MAX_LIBRARIES)]:
            if path.stem != kept:
                path.with_suffix(".json").unlink(missing_ok=True)
                path.unlink(missing_ok=True)


def _refuse_foreign(directory: Path) -> None:
    status = directory.stat()
    if status.st_uid != os.geteuid() or status.st_mode & _OTHERS_WRITE:
        raise ConfigError(
            f'engine.cache_dir = "{directory}": what lies there is run as code, so it must belong to this '
            f"user (uid {os.geteuid()}) alone; it belongs to uid {status.st_uid}, mode "
            f"{stat.S_IMODE(status.st_mode):o}: name another directory, or mend its owner and mode (0700)"
        )


def own_bytes(path: Path) -> bytes | None:
    """What the file holds; None where there is none, or it is not this user's alone."""
    try:
        status = path.lstat()
        mine = status.st_uid == os.geteuid() and not status.st_mode & _OTHERS_WRITE
        return path.read_bytes() if mine and stat.S_ISREG(status.st_mode) else None
    except OSError:
        return None


def _sound(path: Path, digest: str) -> bool:
    content = own_bytes(path)
    return content is not None and hashlib.sha256(content).hexdigest() == digest


def _used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
