"""Tasks that jump at known visits, through the engine: found soon, nearly all, with hardly a false alarm."""

from typing import get_args

import numpy as np
import pytest

from streammeta.evaluation.drift import BEGUN, Detector, Settings, folded
from streammeta.reproduce.drift import BEFORE, METHODS, SOON, TASKS, Run, run

BETA = 0.1
"""Of a memory that needs help: by itself it takes ten visits to follow a jump, at 0.3 three."""


@pytest.fixture(scope="module")
def untouched() -> Run:
    """The stream without a detector."""
    return run(None, 11, BETA)


@pytest.mark.parametrize("beta", [0.3, 1.0])
def test_one_default_serves_slow_memories_and_fast_ones(beta: float) -> None:
    """So it is for a memory that moves by a third, and for one that is the last visit's; both detectors."""
    done = run(None, 11, beta)
    for detector in get_args(Detector):
        found, alarms = judged(done, Settings(detector, kept=1 - beta))
        assert found >= 0.95 * TASKS, detector
        assert alarms <= 1, detector


def judged(done: Run, settings: Settings) -> tuple[int, int]:
    """Tasks whose jump is found soon, and false alarms, when a detector is given a run's losses."""
    found = alarms = 0
    for losses, jump in zip(done.losses, done.jumps, strict=True):
        series, seen = BEGUN, set[int]()
        for visit, loss in enumerate(losses):
            before, series = series.detections, folded(series, float(loss), visit + 1, settings)
            if series.detections > before:
                seen.add(visit - int(jump))
        found += any(0 <= delay < SOON for delay in seen)
        alarms += sum(delay < 0 for delay in seen)
    return found, alarms


@pytest.mark.parametrize("detector", ["page_hinkley", "adwin"])
def test_jumps_are_found_soon_little_else_and_a_restart_helps(detector: str, untouched: Run) -> None:
    """95 % of the tasks within 30 visits; at most one false alarm in over 10,000; the stream's rise by one.

    With its memory begun anew a task's loss comes back sooner; until its jump all is bit for bit the same.
    """
    settings = METHODS[f"{detector}, restart_memory"]
    assert isinstance(settings, Settings)
    done = run(settings, 11, BETA)
    assert done.jumps.sum() > 10_000
    assert done.false_alarms <= 1
    assert len(done.delays) >= 0.95 * TASKS
    of_stream = [one.visit for one in done.found if not one.detection.task]
    # The jumps are spread over half of the stream: its slow rise is seen by Page–Hinkley, not by ADWIN.
    assert bool(of_stream) == (detector == "page_hinkley")
    assert all(visit >= done.jumps.min() for visit in of_stream)
    assert all(one.detection.after > one.detection.before for one in done.found)
    early = slice(None), slice(0, int(done.jumps.min()))
    assert np.array_equal(done.losses[early], untouched.losses[early], equal_nan=True) or done.false_alarms
    begin = BEFORE + round(np.median([*done.delays.values()])) + 2
    after = slice(begin, begin + 3)
    assert done.around[after].mean() < 0.75 * untouched.around[after].mean()
