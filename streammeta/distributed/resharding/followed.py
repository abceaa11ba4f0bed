"""The states of a group that other processes write, followed as one."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from streammeta.distributed.resharding.as_one import AsOne, MergeOf, as_one
from streammeta.distributed.resharding.sources import check_together, former
from streammeta.state.followed import FollowedStore


class FollowedGroup:
    """Reads the last commits of all ranks. Any thread may; one after the other.

    Args:
        base: The group's directory, for what is told.
        stores: Of the ranks, by number; whoever made them closes them.
        merge_of: How their states unite.
    """

    def __init__(self, base: Path, stores: Sequence[FollowedStore], merge_of: MergeOf) -> None:
        self._base, self._stores, self._merge_of = base, stores, merge_of

    def written_at_seconds(self) -> float:
        """When the last commit of any rank was written, as Unix time."""
        return max(store.written_at_seconds() for store in self._stores)

    @contextmanager
    def snapshot(self) -> Iterator[AsOne]:
        """The last commits, for as long as the block runs.

        Raises:
            StateError: one is gone or cannot be read, or a round ended while they were read.
        """
        with ExitStack() as stack:
            found = [former(self._base, stack.enter_context(store.snapshot())) for store in self._stores]
            check_together(self._base, found)
            yield as_one(found, self._merge_of)
