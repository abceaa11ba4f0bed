"""Rounds, as the loop sees them: where one ends is a place between two iterations.

A process that learns alone has none. In a group (`uniting.py`) a round ends with a commit of each rank and
the mean of their meta-models.
"""

import math
from collections.abc import Callable
from typing import Final, Protocol

from streammeta.runtime.commit import Commits
from streammeta.runtime.intake import Intake


class Rounds(Protocol):
    """Asked between two iterations whether a round ends there."""

    @property
    def look_seconds(self) -> float:
        """How long a poll may wait before it is asked again."""

    @property
    def due(self) -> bool:
        """Whether the round's records are complete with what was taken. It follows from them alone."""

    def begin(self) -> None:
        """Before anything is applied: go to the newest round that all ranks have.

        Raises:
            StateError: the states of the ranks do not belong together.
            ConfigError: their settings do not.
            GroupLost: a rank gave no sign of life.
        """

    def wanted(self, *, idle: Callable[[], bool]) -> bool:
        """Whether the round ends here although its records are not complete.

        `idle`: whether there is nothing to learn from now.
        """

    def close(self, *, ended: bool = False) -> bool:
        """End the round: commit, and go on from the mean; waits for the others, and returns early to stop.

        Nothing must wait in the chunk. `ended`: this rank has reached its end.

        Returns:
            Whether all ranks have reached theirs.

        Raises:
            GroupLost: a rank gave no sign of life.
        """


RoundsOf = Callable[[Intake, Commits, Callable[[], None]], Rounds]
"""Makes them for a loop; the last one is to be called while it waits."""


class _Alone:
    """No rounds."""

    look_seconds = math.inf
    due = False

    def begin(self) -> None:
        """Nobody to agree with."""

    def wanted(self, *, idle: Callable[[], bool]) -> bool:  # noqa: ARG002 (the protocol's)
        """Never."""
        return False

    def close(self, *, ended: bool = False) -> bool:  # noqa: ARG002 (the protocol's)
        """Nobody else has an end to reach."""
        return True


ALONE: Final[RoundsOf] = lambda _intake, _commits, _turned: _Alone()  # noqa: E731 (a value of a type)
