"""The protocol between the ranks of a group.

All ranks call the same methods in the same order; one that is missing is waited for while it gives signs of
life.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from torch import Tensor

Missing = Callable[[Sequence[int]], None]
"""Called every fraction of a second of a wait, with the ranks that are waited for; an error ends the wait."""


class Group(Protocol):
    """The ranks 0 to `world` - 1, this one among them."""

    @property
    def rank(self) -> int:
        """This one's number."""

    @property
    def world(self) -> int:
        """How many they are."""

    def gather(self, label: str, word: bytes, missing: Missing) -> list[bytes]:
        """Say `word` under a label that is used once, and hear those of all ranks, by rank.

        Raises:
            GroupLost: a rank that did not say its word gives no sign of life.
        """

    def begun(self, label: str) -> bool:
        """Whether a rank has said its word under this label. Does not wait."""

    def mean(self, numbers: Tensor, share: float, missing: Missing) -> Tensor:
        """The sum over the ranks of `share` times `numbers`, the same bits on every rank.

        Raises:
            GroupLost: a rank did not take part in time.
        """

    def spread(self, content: bytes, root: int, missing: Missing) -> bytes:
        """What the rank `root` gives, to all.

        Raises:
            GroupLost: a rank did not take part in time.
        """

    def close(self) -> None:
        """Leave. May be called twice."""
