"""What the API, the page and the terminal are told."""

import json
import threading
from typing import Any

import pytest

from streammeta.errors import Reason
from streammeta.evaluation.prequential import Prequential
from streammeta.observe.status import Status
from streammeta.outcomes import Awaiting, Duplicate, Executing
from tests.observe.outcomes import Clock, checkpointed, learned, refused, turned, united


@pytest.fixture
def clock() -> Clock:
    """A clock of this test alone."""
    return Clock()


@pytest.fixture
def status(clock: Clock) -> Status:
    """The observer under test."""
    return Status(
        topic="tasks",
        algorithm="moml",
        version="1.2.3",
        torch_version="2.13.0",
        clock=clock,
        started_at_seconds=1_700_000_000.0,
    )


def test_at_the_start_nothing_is_claimed(status: Status) -> None:
    """Unknown numbers are null, counts are 0, and the whole is strict JSON."""
    now: Any = json.loads(json.dumps(status.snapshot(), allow_nan=False))
    assert now["state"] == "starting"
    assert now["losses"]["adapted"] == {"first": None, "now": None, "window": None}
    assert (now["events"], now["events_per_second"], now["tasks"], now["checkpoint"]) == (0, 0, None, None)
    assert now["dead_letters"] == dict.fromkeys(map(str, Reason), 0)
    assert (now["version"], now["torch"], now["algorithm"], now["topic"]) == (
        "1.2.3",
        "2.13.0",
        "moml",
        "tasks",
    )


def test_begins_with_what_the_state_brings(status: Status) -> None:
    """Events and rates before the first event of this process; then those that it tells, as configured."""
    status.begin(41, 0.019999999552965164, 0.25)
    now = status.snapshot()
    assert (now["events"], now["learning_rates"]) == (41, {"inner": 0.02, "meta": 0.25})
    status(learned(events=42, inner_lr=0.10000000149011612, meta_lr=0.0010000000474974513))
    now = status.snapshot()
    assert (now["events"], now["learning_rates"]) == (42, {"inner": 0.1, "meta": 0.001})


def test_tells_what_happened(status: Status, clock: Clock) -> None:
    """Counts, losses, lag, tasks and the checkpoint are those of the outcomes."""
    status(turned(lag=[5, 7], lag_seconds=2.5, blocked={1: 900.0}))
    status(learned(events=41))
    status(refused())
    status(Duplicate("tasks", 0, 3))
    status(checkpointed(at=1_700_000_123.0))
    clock.seconds += 4
    now = status.snapshot()
    assert now["state"] == "learning"
    assert now["events"] == 41
    assert now["outcomes"] == {"learned": 1, "skipped": 0, "duplicate": 1, "dead_letter": 1}
    assert now["dead_letters"]["bad_tensor"] == 1
    assert now["losses"]["meta"] == {"first": 4.0, "now": 4.0, "window": 4.0}
    assert now["adaptation_gain"] == 2.0
    assert now["learning_rates"] == {"inner": 0.01, "meta": 0.001}
    assert now["lag"] == {
        "total": 12,
        "partitions": {"0": 5, "1": 7},
        "seconds": 2.5,
        "eta_seconds": None,
    }
    assert now["broker"]["service"] == "served"
    assert now["broker"]["blocked"] == {"1": 900.0}
    assert now["tasks"] == {"cached": 10, "stored": 100, "quarantined": 0}
    assert now["checkpoint"] == {
        "ok": True,
        "timestamp_seconds": 1_700_000_123.0,
        "age_seconds": 4.0,
        "duration_seconds": 0.012,
        "bytes": 34_000,
    }
    assert now["uptime_seconds"] == 4.0


def test_a_commit_of_another_process_is_as_old_as_it_is(status: Status, clock: Clock) -> None:
    """Not as old as we have known of it."""
    status.written(checkpointed(), 1800.0)
    clock.seconds += 4.0
    saved = status.snapshot()["checkpoint"]
    assert saved is not None
    assert saved["age_seconds"] == 1804.0


def test_numbers_that_json_lacks_are_null(status: Status) -> None:
    """NaN and infinity become null, never invalid JSON."""
    status(learned(gradient_norm=float("inf"), prequential=Prequential().fold(1.0, 1.0, float("nan"), 1.0)))
    now: Any = json.loads(json.dumps(status.snapshot(), allow_nan=False))
    assert now["gradient_norm"] is None
    assert now["losses"]["memory"]["now"] is None


def test_first_value_is_the_mean_of_the_first_50(status: Status) -> None:
    """The first value settles after 50 events, at memory after 50 second visits, and then stays."""
    for number in range(1, 201):
        at_memory = float("nan") if number <= 20 else 2.0 * number
        status(learned(loss_meta=float(number), loss_memory=at_memory))
    losses = status.snapshot()["losses"]
    assert losses["meta"]["first"] == sum(range(1, 51)) / 50
    assert losses["memory"]["first"] == sum(2 * number for number in range(21, 71)) / 50


def test_who_computes(status: Status) -> None:
    """Nothing before it is told; then shapes by executor, compilations, and the step that is waited for."""
    assert status.snapshot()["engine"]["compiled"] == 0
    status(Executing(2, 1, 0, 1, 3, 31.5, "compiling the step of float32[1,3,2]"))
    assert status.snapshot()["engine"] == {
        "compiled": 2,
        "traced": 1,
        "eager": 0,
        "compiling": 1,
        "compile_failures": 3,
        "compile_seconds": 31.5,
        "making": "compiling the step of float32[1,3,2]",
    }


def test_state_in_words(status: Status) -> None:
    """A lost broker outweighs a restore."""
    for outcome, state in (
        (turned(restoring=True), "restoring"),
        (turned(connected=False, restoring=True), "disconnected"),
        (turned(), "learning"),
    ):
        status(outcome)
        assert status.snapshot()["state"] == state
    status.stop()
    assert status.snapshot()["state"] == "stopped"


def test_rate_is_that_of_the_last_seconds(status: Status, clock: Clock) -> None:
    """A steady rate is shown as it is; the former one is forgotten within 11 s; a pause counts as nothing."""
    for _ in range(20 * 100):
        clock.seconds += 0.01
        status(learned())
    assert status.snapshot()["events_per_second"] == pytest.approx(100, rel=0.02)
    for _ in range(11 * 10):
        clock.seconds += 0.1
        status(learned())
    assert status.snapshot()["events_per_second"] == pytest.approx(10, rel=0.02)
    clock.seconds += 3600
    assert status.snapshot()["events_per_second"] < 0.5
    for _ in range(50):
        clock.seconds += 0.1
        status(learned())
    assert status.snapshot()["events_per_second"] == pytest.approx(5, rel=0.1)


def test_can_be_read_while_it_is_written(status: Status, clock: Clock) -> None:
    """A reader in another thread sees whole values all the time."""
    done = threading.Event()
    seen: list[int] = []

    def read() -> None:
        while not done.is_set():
            seen.append(len(json.dumps(status.snapshot())))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(20_000):
        clock.seconds += 0.1
        status(learned(events=number))
        status(turned(lag=range(number % 7)))
    done.set()
    reader.join(120)
    assert not reader.is_alive()
    assert len(seen) > 1


def test_a_rank_shows_the_whole_group(status: Status) -> None:
    """Every rank as it told of itself, and for whom this one waits now; nothing where it learns alone."""
    assert status.snapshot()["group"] is None
    status(united())
    status(Awaiting(5, [0]))
    group: Any = json.loads(json.dumps(status.snapshot(), allow_nan=False))["group"]
    assert (group["rank"], group["round"], group["waiting_for"], group["weight"]) == (1, 4, [0], 0.75)
    assert (group["distance"], group["waited_seconds"], group["exchange_seconds"]) == (0.125, 2.0, 0.25)
    first, second = group["ranks"]
    assert first == {"rank": 0, "events": 40, "lag": 3, "weight": 10, "distance": 0.0, "ended": False}
    assert (second["events"], second["lag"], second["ended"]) == (90, None, True)
    status(united())
    after = status.snapshot()["group"]
    assert after is not None
    assert after["waiting_for"] == []
