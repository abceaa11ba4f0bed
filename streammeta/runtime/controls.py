"""What is asked of the loop from outside: by signals, by the configuration."""

from dataclasses import dataclass
from typing import NamedTuple


class Rates(NamedTuple):
    """The learning rates that a reload brings."""

    inner_lr: float
    meta_lr: float


@dataclass(slots=True)
class Controls:
    """What signals ask of the loop; it looks between two events.

    Attributes:
        stop: Finish the iteration in hand, checkpoint, return; one that is still open waits for the restart.
        checkpoint: Checkpoint now.
        reload: Read the configuration again.
    """

    stop: bool = False
    checkpoint: bool = False
    reload: bool = False

    def end(self) -> None:
        """Ask it to stop."""
        self.stop = True


@dataclass(frozen=True, slots=True)
class CheckpointPolicy:
    """A checkpoint is due after so many events, or so many seconds with news, whichever is first."""

    events: int
    seconds: float
