"""One exchange at the end of a round: what all ranks say, and the mean of what they learned."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from threading import Thread
from typing import NamedTuple

from streammeta.algorithms.base import State
from streammeta.algorithms.merging import largest, mean_state, numbers_of, shares
from streammeta.clock import Clock
from streammeta.distributed.group import Group, Missing
from streammeta.distributed.words import Report, pack_word, reports

LOOK_SECONDS = 0.05
"""How long a wait may take before whoever waits is asked whether to go on."""


class Met(NamedTuple):
    """What an exchange brought.

    Attributes:
        reports: Of all ranks; none where the exchange was over.
        share: This rank's part in the mean.
        mean: Of their states; None where nobody learned anything, or there is nobody else.
        bytes: Handed over.
        seconds: What the exchange took once all had come.
    """

    reports: Sequence[Report]
    share: float
    mean: State | None
    bytes: int
    seconds: float


UnderWay = Callable[[Missing], Met]
"""Waits for an exchange; what it is called with is called meanwhile."""


class Exchange(NamedTuple):
    """An exchange that a rank takes part in.

    Attributes:
        label: That of the round.
        report: What this rank says.
        sent: The state that it brings.
        uniform: Ranks that learned weigh alike.
    """

    group: Group
    clock: Clock
    label: str
    report: Report
    sent: State
    uniform: bool

    def now(self, missing: Missing) -> Met:
        """Take part, and wait for the others.

        Raises:
            GroupLost: a rank gave no sign of life.
        """
        found = reports(self.group.gather(self.label, pack_word(self.report), missing))
        began = self.clock.monotonic()
        weights = [report.weight for report in found]
        share = shares([int(weight > 0) for weight in weights] if self.uniform else weights)[self.group.rank]
        if self.group.world == 1 or not any(weights):
            return Met(found, share, None, 0, 0.0)
        numbers, counts = numbers_of(self.sent), largest([report.counts for report in found])
        state = mean_state(self.sent, self.group.mean(numbers, share, missing), counts)
        handed = numbers.numel() * numbers.element_size()
        return Met(found, share, state, handed, self.clock.monotonic() - began)

    def aside(self, missing: Missing) -> UnderWay:
        """Begin it in a thread of its own, where `missing` is called."""
        future = Future[Met]()

        def run() -> None:
            try:
                future.set_result(self.now(missing))
            except BaseException as error:  # noqa: BLE001 (raised again where the result is asked for)
                future.set_exception(error)

        Thread(target=run, name="exchange", daemon=True).start()

        def waited(missing: Missing) -> Met:
            while not wait([future], LOOK_SECONDS).done:
                missing([])
            return future.result()

        return waited


def known(mean: State | None) -> UnderWay:
    """An exchange that is over, and whose mean another rank has told."""
    return lambda _missing: Met((), 0.0, mean, 0, 0.0)
