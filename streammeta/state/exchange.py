"""One state put in another's place within its directory, by renames that are gone on with after a kill.

    state/exchange/          what comes, whole and on the disk
    state/exchange/aside     the name of the directory for what was there

Invariant: once `exchange` exists, the exchange happens: whoever enters the directory next finishes it.
Before, nothing has changed. What was there is renamed, never deleted.
"""

import os
from pathlib import Path
from typing import Final

EXCHANGE: Final = "exchange"
ASIDE: Final = "aside"
COPIES: Final = "checkpoints"
"""Kept copies go aside with their state; none come."""
PIECES: Final = ("trials", "order.log", "lmdb")
"""What comes, all of it, in this order."""


def finish(directory: Path) -> Path | None:
    """Finish an exchange that has begun; where what was there is now, None where none has begun.

    To be called under the lock of the directory.

    Raises:
        OSError: the disk refuses; another try goes on.
    """
    coming = directory / EXCHANGE
    if not coming.is_dir():
        return None
    note = coming / ASIDE
    aside = directory / note.read_text() if note.exists() else None
    if aside is not None:
        aside.mkdir(mode=0o700, exist_ok=True)
        _rename(directory / COPIES, aside / COPIES)
        for name in PIECES:
            if (coming / name).exists():  # else it has come
                _rename(directory / name, aside / name)
                (coming / name).rename(directory / name)
        for path in (aside, directory):
            sync(path)
        note.unlink()
    coming.rmdir()
    sync(directory)
    return aside


def _rename(path: Path, to: Path) -> None:
    if path.exists():
        path.rename(to)


def sync(path: Path) -> None:
    """Have the names in a directory, or the content of a file, on the disk."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
