"""The length of LMDB's data file: always at least what LMDB believes to own, so that a cut file is told.

LMDB never writes pages that a transaction gave out and freed again, so its own file may end early. A reader
of a file that was cut ends in a bus error. We lengthen the file before a commit by more than the commit can
use, a hole that takes no disk, and cut it back to the exact length after it: shorter than that is damage.
"""

import os
from pathlib import Path

import lmdb

_PAGES_PER_VALUE = 32
"""More than the pages of the tree that one put can copy, twice over."""
_SPARE_PAGES = 256
"""For LMDB's list of free pages."""


def used_bytes(env: lmdb.Environment) -> int:
    """The bytes up to the last page that LMDB has given out."""
    used: int = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    return used


def lengthen(path: Path, env: lmdb.Environment, *, values: int = 0, value_bytes: int = 0) -> None:
    """Make the file longer than a commit of so many values, of so many bytes together, can need."""
    room_bytes = value_bytes + (values * _PAGES_PER_VALUE + _SPARE_PAGES) * env.stat()["psize"]
    os.truncate(path, max(path.stat().st_size, used_bytes(env) + room_bytes))


def fit(path: Path, env: lmdb.Environment) -> None:
    """Cut the file to what LMDB owns now."""
    os.truncate(path, used_bytes(env))
