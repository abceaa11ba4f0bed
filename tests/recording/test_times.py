"""Timestamps that are no times, or far from the others: told, selected and waited for with sense."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from streammeta.cli.replay_plan import tell_plan
from streammeta.recording.reader import Recording
from streammeta.recording.selection import ALL, Bound, Selection
from streammeta.recording.times import LONGEST_STEP_MS, Pace, Timing
from tests.recording.samples import read, stream, write

YEAR_MS = 365 * 86_400_000
ODD = [5_000, -1, 6_000, 1_700_000_000_000_000, 7_000, 90 * YEAR_MS, 8_000, 9_000, 8_500]
"""Seconds 5 to 9, and among them unknown, counted in microseconds, and far away."""


def test_unknown_and_far_times_are_not_waited_for() -> None:
    """A jump costs no wait, in either direction; what follows it is as far apart as it was."""
    now = 0.0
    timing = Timing(1.0, lambda: now)
    assert [timing.left_seconds(time) for time in ODD] == [0, 0, 1, 1, 2, 2, 2, 3, 3]
    assert timing.pace.jumps == 2


def test_a_pause_is_waited_for() -> None:
    """Up to a week: a stream may rest at night and over holidays."""
    timing = Timing(2.0, lambda: 0.0)
    assert [timing.left_seconds(time) for time in (0, LONGEST_STEP_MS)] == [0, LONGEST_STEP_MS / 2000]


@pytest.mark.parametrize("seed", range(20))
def test_stretches_are_as_row_by_row(seed: int) -> None:
    """The plan's sum over columns is what a replay waits for, row by row, however the rows are cut."""
    rng = np.random.default_rng(seed)
    times = rng.choice([-1, 10**15, 10**12], 200, p=[0.1, 0.1, 0.8]) + rng.integers(0, 10**6, 200)
    times += (rng.random(200) < 0.05) * 30 * YEAR_MS
    times[rng.random(200) < 0.1] = -1
    rows, columns = Pace(), Pace()
    waited = [rows.after_ms(time) for time in times.tolist()][-1]
    for piece in np.array_split(times, 7):
        planned = columns.follow(piece)
    assert (planned, columns.jumps) == (waited, rows.jumps)


def test_a_plan_of_odd_times(tmp_path: Path) -> None:
    """No traceback; the range is that of known times, the duration what a replay waits."""
    records = [one._replace(timestamp_ms=time) for one, time in zip(stream(len(ODD)), ODD, strict=True)]
    recording = Recording(write(tmp_path, records))
    with CliRunner().isolation() as (out, *_):
        tell_plan(recording, ALL, 1.0, "json")
        plan = json.loads(out.getvalue())
    assert plan["first"] == "1970-01-01T00:00:05.000+00:00"
    assert plan["last"].startswith("2059-")
    assert (plan["records"], plan["untimed"], plan["jumps"], plan["seconds"]) == (9, 2, 2, 3.0)


def test_a_plan_without_any_time(tmp_path: Path) -> None:
    """What is not known is absent, and nothing is waited for."""
    recording = Recording(write(tmp_path, [one._replace(timestamp_ms=-1) for one in stream(5)]))
    assert recording.time_ms is None
    with CliRunner().isolation() as (out, *_):
        tell_plan(recording, ALL, 1.0, "json")
        plan = json.loads(out.getvalue())
    assert (plan["first"], plan["last"], plan["untimed"], plan["seconds"]) == (None, None, 5, 0.0)


def test_an_unknown_time_lies_in_no_range(tmp_path: Path) -> None:
    """Neither before a bound nor after it."""
    records = [one._replace(timestamp_ms=-1) if n % 3 == 0 else one for n, one in enumerate(stream(9))]
    write(tmp_path, records)
    early = read(tmp_path, selection=Selection(end=Bound("time", 5_000)))
    assert [one.timestamp_ms for one in early] == [1_000, 2_000, 4_000]
