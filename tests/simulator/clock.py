"""Time that passes when it is read or slept through, and what is to happen in it.

Invariant: what happens depends on the seed alone; a life that reaches `limit_seconds` waits without end.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.scripted import Fuse

EPOCH = 1_700_000_000.0
TICK_SECONDS = 20e-6
"""What reading the clock takes: a loop that only looks at it comes to an end too."""


class Hung(BaseException):
    """Virtual time ran out: somebody waits without an end."""


@dataclass
class Clock:
    """Stands in for the module `time`.

    Attributes:
        now: Monotonic seconds.
        limit_seconds: When the world gives up.
        fuse: Burns a step at each reading, request and write: a process may be killed at any of them.
        writes: Burns at what is done to the disk alone.
    """

    now: float = 0.0
    limit_seconds: float = 1e9
    fuse: Fuse = field(default_factory=Fuse)
    writes: Fuse = field(default_factory=Fuse)
    _agenda: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _count: int = 0
    _acting: bool = False

    def monotonic(self) -> float:
        """As `time.monotonic`; a moment at which the process may be killed."""
        self.moment()
        self.advance(TICK_SECONDS)
        return self.now

    def time(self) -> float:
        """As `time.time`."""
        return EPOCH + self.now

    def sleep(self, seconds: float) -> None:
        """As `time.sleep`."""
        self.moment()
        self.advance(seconds)

    def moment(self) -> None:
        """The process may be killed here; what happens by itself is not its doing."""
        if not self._acting:
            self.fuse.passed()

    def writing(self) -> None:
        """A moment before or after something is done to the disk."""
        self.moment()
        if not self._acting:
            self.writes.passed()

    def at(self, when: float, act: Callable[[], None]) -> None:
        """Let `act` happen then; what is due at once happens when time next passes."""
        self._count += 1
        heapq.heappush(self._agenda, (when, self._count, act))

    @property
    def acting(self) -> bool:
        """Whether something happens by itself: nothing can be waited for in it."""
        return self._acting

    def forget(self) -> None:
        """Nothing is to happen any more."""
        self._agenda.clear()

    def advance(self, seconds: float) -> None:
        """Let time pass, with all that happens in it; nothing waits for what happens by itself.

        Raises:
            Hung: it passed the limit.
        """
        if self._acting:
            return
        until = self.now + max(0.0, seconds)
        while self._agenda and self._agenda[0][0] <= until:
            when, _, act = heapq.heappop(self._agenda)
            self.now = max(self.now, when)
            self._act(act)
        self.now = until
        if until > self.limit_seconds:
            raise Hung(f"nothing had come to its end at {until:.1f} s")

    def _act(self, act: Callable[[], None]) -> None:
        self._acting = True
        try:
            act()
        finally:
            self._acting = False
