"""A stopwatch around functions where they stand: the time that each takes itself, without those it calls.

It changes classes and modules for the rest of the process: to be used in a process of its own.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

_CALIBRATION_CALLS: Final = 20_000


@dataclass(slots=True)
class Tally:
    """What a watched function came to.

    Attributes:
        seconds: In it, without what it called of the others.
        calls: Of it.
        within: Calls of others from it.
    """

    seconds: float = 0.0
    calls: int = 0
    within: int = 0

    def since(self, earlier: "Tally") -> "Tally":
        """What came after an earlier copy of it."""
        return Tally(self.seconds - earlier.seconds, self.calls - earlier.calls, self.within - earlier.within)


class Watch:
    """Not for several threads.

    Attributes:
        tallies: By name.
        root: Of what is not watched itself: `within` alone.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.tallies: dict[str, Tally] = {}
        self.root = Tally()
        self._clock, self._at = clock, self.root
        self._inner = 0.0

    def put(self, name: str, places: Iterable[tuple[Any, str]]) -> None:
        """Watch these attributes of classes or modules together."""
        for owner, attribute in places:
            setattr(owner, attribute, self.timed(name, getattr(owner, attribute)))

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, watched."""
        tally, clock = self.tallies.setdefault(name, Tally()), self._clock

        def timed(*arguments: Any, **named: Any) -> Any:
            caller, self._at = self._at, tally
            inner, self._inner = self._inner, 0.0
            began = clock()
            try:
                return function(*arguments, **named)
            finally:
                took = clock() - began
                tally.seconds += took - self._inner
                tally.calls += 1
                caller.within += 1
                self._at, self._inner = caller, inner + took

        return timed

    def note(self) -> tuple[dict[str, Tally], Tally]:
        """Copies of the tallies as they are, and of the root's."""
        return {name: replace(tally) for name, tally in self.tallies.items()}, replace(self.root)


def costs() -> tuple[float, float]:
    """Seconds that watching adds to a call: to the function's own, and to the one that calls it."""
    watch = Watch()
    watched = watch.timed("nothing", _nothing)
    took = _seconds(watched) - _seconds(_nothing)
    within = watch.tallies["nothing"].seconds / _CALIBRATION_CALLS
    return within, max(0.0, took - within)


def _seconds(function: Callable[[object], object]) -> float:
    began = time.perf_counter()
    for _ in range(_CALIBRATION_CALLS):
        function(None)
    return (time.perf_counter() - began) / _CALIBRATION_CALLS


def _nothing(_: object) -> None:
    """What is timed to learn what timing costs."""
