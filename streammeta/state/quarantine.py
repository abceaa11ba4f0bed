"""Tasks whose memory outgrew the limit: their events are refused until they are released.

Part of the state. Who is held back, and since when, follows from the records alone (a release is a record
too), so a restart and a replay decide the same.
"""

import math
import shlex
from collections.abc import Mapping
from typing import Final, NamedTuple

from streammeta.errors import BadEvent, ConfigError, Reason

MOST_HELD: Final = 10_000
"""Tasks that may be held back: with more of them it is the limit, or the rates, that are at fault."""


class Held(NamedTuple):
    """A task that is held back.

    Attributes:
        event: The number, in the stream, that the first refused event would have had.
        norm: That of the task's parameters which it would have made.
    """

    event: int
    norm: float


def release_command(task: str) -> str:
    """What a person types to release it, as a shell reads it; FILE is the configuration."""
    end = "-- " if task.startswith("-") else ""
    return f"streammeta tasks release --config FILE {end}{shlex.quote(task)}"


class Quarantine:
    """The tasks that are held back.

    Attributes:
        limit: Norm of a task's own parameters that no visit may take them beyond; infinity: none.
    """

    def __init__(self, limit: float = math.inf, held: Mapping[str, Held] | None = None) -> None:
        self.limit = limit
        self._held = dict(held or {})

    def __len__(self) -> int:
        """How many."""
        return len(self._held)

    @property
    def held(self) -> Mapping[str, Held]:
        """Task -> since when; a copy."""
        return dict(self._held)

    def refusal(self, task: str) -> BadEvent | None:
        """Why the task's events are refused; None when they are not."""
        found = self._held.get(task)
        if found is None:
            return None
        return BadEvent(
            Reason.QUARANTINED,
            f"task {task!r} is in quarantine since event {found.event:,}, which would have taken the norm of "
            f"its parameters to {found.norm:.4g} (events.memory_norm_limit = {self.limit:g}); look at its "
            f"records, then release it: {release_command(task)}",
            stage="step",
        )

    def add(self, task: str, held: Held) -> None:
        """Hold the task back from now on.

        Raises:
            ConfigError: there are `MOST_HELD` of them.
        """
        if len(self._held) >= MOST_HELD:
            raise ConfigError(
                f"events.memory_norm_limit = {self.limit:g}: more than {MOST_HELD:,} tasks would be in "
                "quarantine; raise the limit, or lower the learning rates"
            )
        self._held[task] = held

    def release(self, task: str) -> bool:
        """Learn from its events again; whether the task was held back."""
        return self._held.pop(task, None) is not None
