"""Kept copies of a group's state: those of each rank, and which of them belong to one round.

Each rank keeps its copies in its own directory, under its own number of events. Copies belong together where
all ranks can go on from them as after a crash: the newest round that one has united in, all have closed.
"""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final, NamedTuple

from streammeta.distributed.agreement import newest_round
from streammeta.distributed.homes import homes_in
from streammeta.distributed.words import Arrival
from streammeta.errors import StateError
from streammeta.state import copies as keeping
from streammeta.state.checkpoint import Checkpoint
from streammeta.state.directory import StateDirectory
from streammeta.state.lmdb_store import LmdbStore

TRIES: Final = 5
"""Ranks are copied one after the other: while they learn, a round may end between two of them."""


class Set(NamedTuple):
    """Sound copies of all ranks that belong together; `round`: the newest that one of them has united in."""

    round: int
    copies: Sequence[keeping.Copy]
    found: Sequence[keeping.Verified]


def create(base: Path) -> Set:
    """Copy the last commits of all ranks, also while they learn, and see that they belong together.

    Raises:
        StateError: they do not, in any of some tries; or one cannot be copied.
    """
    homes = [StateDirectory(home) for home in homes_in(base)]
    for left in reversed(range(TRIES)):
        with ExitStack() as stack:
            made = [
                keeping.create(home, stack.enter_context(closing(LmdbStore(home.lmdb_path, readonly=True))))
                for home in homes
            ]
        found = [keeping.verify(copy.lmdb_path) for copy in made]
        try:
            return Set(round_of([each.checkpoint for each in found]), made, found)
        except StateError as error:
            if not left:
                raise StateError(
                    f"{base}: rounds end faster than all ranks can be copied ({error}); raise "
                    "distributed.round_events, or stop the group first"
                ) from error
    raise AssertionError


def sets(base: Path) -> list[Set]:
    """The sets of sound copies that belong together, the newest round first; each copy in one set at most."""
    homes = [StateDirectory(home) for home in homes_in(base)]
    sound = [[*_sound(home)] for home in homes]
    rounds = {_united(found) for each in sound for _, found in each}
    made, seen = list[Set](), set[tuple[Path, ...]]()
    for number in sorted(rounds, reverse=True):
        chosen = [next((one for one in each if _holds(one[1], number)), None) for each in sound]
        whole = [one for one in chosen if one is not None]
        paths = tuple(copy.path for copy, _ in whole)
        if len(whole) == len(homes) and paths not in seen:
            seen.add(paths)
            made.append(Set(number, [copy for copy, _ in whole], [found for _, found in whole]))
    return made


def restore(base: Path) -> tuple[Set, list[keeping.Restored]]:
    """Put the newest set in the states' places. To be called under the locks of all ranks.

    Killed between two ranks, it is called again: until then the ranks refuse to begin, for they do not belong
    together, or go on from what does.

    Raises:
        StateError: no set, or the disk refuses.
    """
    found = sets(base)
    if not found:
        raise StateError(f"{base}: no copies of one round are kept by all ranks")
    homes = homes_in(base)
    done = [
        keeping.restore(StateDirectory(home), copy.events)
        for home, copy in zip(homes, found[0].copies, strict=True)
    ]
    return found[0], done


def round_of(checkpoints: Sequence[Checkpoint]) -> int:
    """The newest round that one has united in.

    Raises:
        StateError: another has not closed it, or one never was in a group.
    """
    arrivals = []
    for rank, checkpoint in enumerate(checkpoints):
        if checkpoint.standing is None:
            raise StateError(f"the state of rank {rank} never was in a group")
        arrivals.append(Arrival(checkpoint.standing, "", checkpoint.progress.events))
    return newest_round(arrivals)


def _sound(home: StateDirectory) -> "list[tuple[keeping.Copy, keeping.Verified]]":
    found = []
    for copy in keeping.copies(home):
        try:
            found.append((copy, keeping.verify(copy.lmdb_path)))
        except StateError:
            continue
    return found


def _united(found: keeping.Verified) -> int:
    standing = found.checkpoint.standing
    return -1 if standing is None else standing.united


def _holds(found: keeping.Verified, number: int) -> bool:
    """Whether it can go on from the round, as one that united in it or closed it."""
    standing = found.checkpoint.standing
    return standing is not None and standing.united <= number <= standing.closed
