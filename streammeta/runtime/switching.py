"""Who computes the steps from where on: decided between polls, logged, told to the tape and to observers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from streammeta.errors import Interrupted
from streammeta.events import Switch
from streammeta.outcomes import Executing
from streammeta.runtime.intake import Intake
from streammeta.runtime.orders import OrderLog
from streammeta.stream.base import Source

log = structlog.get_logger(__name__)


@dataclass
class Switching:
    """Decides, and makes it so.

    Invariant: the order log has a switch before anything that it concerns is applied.

    Attributes:
        stopped: Whether the loop was asked to stop.
    """

    source: Source
    intake: Intake
    order_log: OrderLog
    stopped: Callable[[], bool]
    _executing: Executing | None = field(init=False, default=None)

    def begin(self) -> None:
        """What serves at first belongs to the state."""
        executors = self.intake.engine.executors
        executors.following = self.source.executors() is not None
        executors.take_over = self.take_over
        executors.wait_with(self._wait)
        self.intake.tape.serve(executors.in_use())

    def due(self) -> list[Switch]:
        """To the compiled steps that take over now; away from those that are in use and cannot be had."""
        executors, told = self.intake.engine.executors, self.source.executors()
        if told is not None:
            return executors.follow(told)
        lost, ready = executors.lost(), executors.look()
        if not lost:
            return [Switch(name) for name in ready]
        _tell_lost(lost)
        kept = sorted(executors.names.difference(lost))
        return [Switch(), *(Switch(name) for name in (*kept, *ready))]

    def turn(self, switches: Sequence[Switch]) -> None:
        """Make switches that the order log has.

        Raises:
            StateError: one cannot be made, and bits hang on it.
        """
        if switches:
            executors = self.intake.engine.executors
            executors.turn(switches)
            self.intake.tape.serve(executors.in_use())
            log.info("executors", now=[switch.executor for switch in switches])

    def take_over(self, switches: Sequence[Switch]) -> None:
        """Make switches from the beginning of the chunk that is being applied: none of it is in the state."""
        lost = self.intake.engine.executors.names.difference(switch.compiled for switch in switches)
        if lost and Switch() in switches:
            _tell_lost(sorted(lost))
        self.order_log.insert(self.intake.ledger.positions, switches)
        self.turn(switches)

    def tell(self, making: str = "") -> None:
        """Tell who computes the steps, where that changed."""
        executing = Executing(*self.intake.engine.executors.counts, making)
        if executing != self._executing:
            self._executing = executing
            self.intake.telling.tell(executing)

    def _wait(self, words: str) -> None:
        """A step is being made, and the chunk waits for it."""
        self.tell(words)
        if self.stopped() and self._executing is not None and self._executing.compiling_now:
            raise Interrupted("asked to stop while a step was being compiled; the last commit stands")


def _tell_lost(executors: Sequence[str]) -> None:
    log.warning(
        "compiled steps not at hand",
        executors=executors,
        consequence="the traced step serves; last digits may differ from what they would have computed",
    )
