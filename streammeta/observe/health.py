"""Whether the daemon is alive and whether it is of use: what the probes of an orchestrator ask.

Written by the loop, read by another thread; each answer comes from one value that is replaced whole.
"""

from collections.abc import Callable, Iterator

from streammeta.events import Condition
from streammeta.outcomes import Executing, Outcome, Turned

MAKING_SECONDS = 1200.0
"""How long a step may be traced or compiled: that is no hang, however large the model."""
LIMIT_SECONDS = 60.0
"""How long nothing may move that is due, or the loop not turn, before the process counts as stuck."""


class Health:
    """Observer: an outcome is a sign of life, a turn alone only while nothing is due; it says what is ready.

    Args:
        clock: Monotonic seconds. The time until the first turn counts from the creation.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last_sign = clock()
        self._turned: Turned | None = None
        self._making = ""

    def __call__(self, outcome: Outcome) -> None:
        """Fold one outcome."""
        if isinstance(outcome, Turned):
            self._turned = outcome
        self._making = outcome.making if isinstance(outcome, Executing) else ""
        if not (isinstance(outcome, Turned) and outcome.due):
            self.beat()

    def beat(self) -> None:
        """Give a sign of life where work is done that tells no outcome."""
        self._last_sign = self._clock()

    def live(self) -> tuple[bool, str]:
        """Whether records moved, or nothing was due, within the limit; and the reason in words."""
        silent_seconds, making = self._clock() - self._last_sign, self._making
        if making and silent_seconds <= MAKING_SECONDS:
            return True, f"live: {making} for {silent_seconds:.0f} s"
        if silent_seconds <= LIMIT_SECONDS:
            return True, f"live: last sign of life {silent_seconds:.0f} s ago"
        return (
            False,
            f"stuck: something is due, and nothing has moved for {silent_seconds:.0f} s "
            f"(limit {MAKING_SECONDS if making else LIMIT_SECONDS:.0f} s{f', {making}' if making else ''})",
        )

    def ready(self) -> tuple[bool, str]:
        """Whether new events are being learned from, and the reason in words."""
        turned = self._turned
        if turned is None:
            return False, "starting: the source has not been read yet"
        cause = turned.condition.cause
        if turned.condition.service == "refused":
            return False, f"refused: {cause}"
        if not turned.connected:
            why = f" ({cause})" if cause else ""
            return False, f"no broker: it has not answered lately{why}, the daemon keeps trying"
        if turned.restoring:
            return False, "restoring: events from before the last stop are being applied again"
        but = "; ".join(_held_back(turned.condition))
        return True, f"ready, but {but}" if but else "ready"


def _held_back(condition: Condition) -> Iterator[str]:
    """Why some records come late, or not yet."""
    if condition.cause:
        yield f"slowed: {condition.cause}"
    if condition.leaderless:
        yield f"no leader answers for partition {', '.join(map(str, sorted(condition.leaderless)))}"
    if condition.blocked:
        yield f"an open transaction holds back partition {', '.join(map(str, sorted(condition.blocked)))}"
