"""A challenger's state becomes the champion's: verified, copied beside it, then exchanged for it."""

import shutil
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

from streammeta.errors import StateError
from streammeta.state.checkpoint import Checkpoint
from streammeta.state.copies import Verified, verify
from streammeta.state.directory import StateDirectory
from streammeta.state.environment import failed
from streammeta.state.exchange import ASIDE, EXCHANGE, finish, sync
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.order_log import OrderLog


class Promoted(NamedTuple):
    """What both states held, and where the former champion's lies now."""

    champion: Checkpoint
    challenger: Verified
    aside: Path


def promote(champion: StateDirectory, challenger: StateDirectory, aside: str) -> Promoted:
    """Put the challenger's state in the champion's place; its own directory stays as it is.

    Called under the locks of both. Positions go along: the next run goes on from those of the challenger.

    Args:
        champion: Whose place it is.
        challenger: Whose state it is.
        aside: The name, within the champion's directory, for what was there; numbered where it is taken.

    Raises:
        StateError: one of them has no state or is damaged, they learn from different topics, or the disk
            refuses. Nothing has changed then.
    """
    found, was = verify(challenger.lmdb_path), verify(champion.lmdb_path).checkpoint
    _check_topics(was, found.checkpoint)
    aside = _free_name(champion.path, aside)
    unfinished = champion.path / f"{EXCHANGE}.new"
    try:
        _prepare(challenger, unfinished, aside)
        unfinished.rename(champion.path / EXCHANGE)
        sync(champion.path)
        finish(champion.path)
    except OSError as error:
        raise failed(champion.path, error) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return Promoted(was, found, champion.path / aside)


def _prepare(challenger: StateDirectory, target: Path, aside: str) -> None:
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(mode=0o700)
    LmdbStore.copy(challenger.lmdb_path, target / "lmdb")
    OrderLog.renew(target / challenger.order_log_path.name)
    (target / challenger.trials_path.name).touch(0o600)
    for path in (challenger.order_log_path, challenger.trials_path):
        if path.exists():
            shutil.copy2(path, target / path.name)
        sync(target / path.name)
    (target / ASIDE).write_text(aside)
    sync(target / ASIDE)
    sync(target)


def _free_name(directory: Path, name: str) -> str:
    names = chain([name], (f"{name}-{number}" for number in count(2)))
    return next(free for free in names if not (directory / free).exists())


def _check_topics(champion: Checkpoint, challenger: Checkpoint) -> None:
    """Raise where positions of the one mean nothing in the topic of the other."""
    names = [state.origin.fit["kafka"]["topic"] for state in (champion, challenger)]
    ids = [state.topic_id for state in (champion, challenger)]
    if names[0] != names[1] or (all(ids) and ids[0] != ids[1]):
        raise StateError(
            f"the champion learned from topic {names[0]!r} (id {ids[0] or 'unknown'}), the challenger from "
            f"{names[1]!r} (id {ids[1] or 'unknown'}): its positions say nothing there; nothing has changed"
        )
