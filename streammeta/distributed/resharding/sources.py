"""The states of all ranks, as they were last committed, read under their locks and never changed."""

import fcntl
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from streammeta.distributed.place import directory_of, ranks_in
from streammeta.errors import StateError, StateLocked
from streammeta.events import OrderEntry
from streammeta.state.checkpoint import Checkpoint, unpack
from streammeta.state.directory import StateDirectory
from streammeta.state.exchange import EXCHANGE
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.order_log import OrderLog
from streammeta.state.snapshot import LmdbSnapshot
from streammeta.state.standing import Kept


class Former(NamedTuple):
    """A rank that something comes from.

    Attributes:
        snapshot: Its last commit.
        checkpoint: The meta state in it.
        history: What watchers keep in it.
        kept: What it keeps of the last rounds.
        pending: What its order log holds.
    """

    snapshot: LmdbSnapshot
    checkpoint: Checkpoint
    history: bytes
    kept: Kept
    pending: Sequence[OrderEntry]


@contextmanager
def opened(base: Path, *, held: bool = True) -> Iterator[list[Former]]:
    """All ranks in the directory, by number; a single state is one rank.

    `held`: no daemon may write there meanwhile, and every value is verified.

    Raises:
        StateLocked: a process writes there.
        StateError: there is no state, one of a rank is missing or of another group, or something is damaged.
    """
    ranks = ranks_in(base)
    if ranks and ranks != [*range(len(ranks))]:
        raise StateError(f"{base}: it holds the states of ranks {ranks}; bring the missing ones there")
    with ExitStack() as stack:
        found = [
            stack.enter_context(_opened(path, held=held))
            for path in ([directory_of(base, rank) for rank in ranks] if ranks else [base])
        ]
        check_together(base, found, grouped=bool(ranks))
        yield found


@contextmanager
def _opened(path: Path, *, held: bool) -> Iterator[Former]:
    directory = StateDirectory(path)
    with ExitStack() as stack:
        if held:
            stack.enter_context(_held(directory))
        if (path / EXCHANGE).is_dir():
            raise StateError(
                f"{path}: an exchange of states was not finished; start its daemon once, stop it"
            )
        store = stack.enter_context(closing(LmdbStore(directory.lmdb_path, readonly=True)))
        snapshot = stack.enter_context(store.snapshot())
        if held:
            snapshot.verify()
        pending = _pending(directory.order_log_path) if held else ()
        yield former(path, snapshot, pending)


def former(path: Path, snapshot: LmdbSnapshot, pending: Sequence[OrderEntry] = ()) -> Former:
    """What a snapshot of the state in `path` holds.

    Raises:
        StateError: nothing was committed yet, or it is damaged.
    """
    meta = snapshot.load()
    if meta is None:
        raise StateError(f"{path}: nothing was committed yet; start its learner first")
    return Former(snapshot, unpack(meta), meta.history, Kept.unpack(snapshot.united()), pending)


@contextmanager
def _held(directory: StateDirectory) -> Iterator[None]:
    """No process writes there meanwhile; where none ever did there is no lock, and none is made."""
    with ExitStack() as stack:
        with suppress(FileNotFoundError):
            lock = os.open(directory.path / "lock", os.O_RDONLY)
            stack.callback(os.close, lock)
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError as error:
                writer = directory.writer() or "of unknown id"
                raise StateLocked(
                    f"{directory.path}: process {writer} writes to it; stop the group"
                ) from error
        yield


def _pending(path: Path) -> list[OrderEntry]:
    """What is in the order log. A copy is opened: opening one mends its end."""
    if not path.exists():
        return []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(path.read_bytes())
        with closing(OrderLog(copy)) as log:
            return log.pending({})


def check_together(base: Path, found: Sequence[Former], *, grouped: bool = True) -> None:
    """See that these are all ranks of one group, by number.

    Raises:
        StateError: they are not.
    """
    _check_whole(base, found, grouped=grouped)
    _check_alike(base, found)


def _check_whole(base: Path, found: Sequence[Former], *, grouped: bool) -> None:
    for rank, origin in enumerate(found):
        standing = origin.checkpoint.standing
        if standing is None:
            if len(found) > 1:
                raise StateError(
                    f"{directory_of(base, rank)}: a state that never was in a group; move it away"
                )
        elif not grouped and standing.world > 1:
            raise StateError(
                f"{base}: rank {standing.rank} of a group of {standing.world}; name the directory above it"
            )
        elif (standing.rank, standing.world) != (rank, len(found)):
            raise StateError(
                f"{base}: {directory_of(base, rank).name} holds the state of rank {standing.rank} of a group "
                f"of {standing.world}, and {len(found)} ranks are here; bring together what belongs together"
            )


def _check_alike(base: Path, found: Sequence[Former]) -> None:
    first = found[0].checkpoint
    for rank, other in enumerate(origin.checkpoint for origin in found):
        one, two = first.origin, other.origin
        if (one.fit, one.layout, one.dtype, one.constants) != (two.fit, two.layout, two.dtype, two.constants):
            raise StateError(f"{base}: rank {rank} was made with other settings than rank 0")
        if first.topic_id and other.topic_id and first.topic_id != other.topic_id:
            raise StateError(
                f"{base}: rank {rank} learned from another topic of the same name than rank 0 (id "
                f"{other.topic_id}, not {first.topic_id}): its positions mean nothing there"
            )
