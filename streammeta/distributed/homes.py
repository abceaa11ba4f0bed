"""Where the states of a group's ranks are, and which of them knows a task."""

from contextlib import closing
from pathlib import Path

from streammeta.distributed.place import directory_of, ranks_in
from streammeta.state.lmdb_store import LmdbStore


def homes_in(base: Path) -> list[Path]:
    """The state directories of all ranks, by number; of a single state that itself."""
    return [directory_of(base, rank) for rank in ranks_in(base)] or [base]


def home_of(base: Path, task: str) -> Path:
    """The state directory of the rank that knows the task; the first one where none does.

    Raises:
        StateError: a state cannot be read.
    """
    homes = homes_in(base)
    for home in homes[1:]:
        with closing(LmdbStore(home / "lmdb", readonly=True)) as store:
            if store.get(task) is not None:
                return home
    return homes[0]
