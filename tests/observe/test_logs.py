"""Log lines: their format, their routing, and how many there are."""

import io
import json
import logging
import sys
from collections import deque
from collections.abc import Iterator

import pytest
import structlog

from streammeta.errors import ConfigError, Reason
from streammeta.evaluation.prequential import Prequential
from streammeta.observe.logs import LogLines, configure_logging
from streammeta.outcomes import Executing
from tests.observe.outcomes import Clock, checkpointed, learned, refused, turned


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Always."""
        return True


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Leaves handlers, levels and structlog as they were found."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    structlog.reset_defaults()


@pytest.fixture
def clock() -> Clock:
    """A clock of this test alone."""
    return Clock()


@pytest.fixture
def stream() -> io.StringIO:
    """Where the lines of this test go."""
    return io.StringIO()


@pytest.fixture
def lines(clock: Clock, stream: io.StringIO) -> LogLines:
    """The observer under test, writing JSON to `stream`."""
    configure_logging("info", "json", stream)
    return LogLines(structlog.get_logger("streammeta"), clock)


def told(stream: io.StringIO) -> list[dict[str, object]]:
    """What was logged, parsed as strict JSON."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    return [json.loads(line, parse_constant=refuse) for line in stream.getvalue().splitlines()]


def test_json_lines_carry_time_level_and_values(stream: io.StringIO) -> None:
    """One object per line; NaN is null; the standard library and exceptions are logged the same way."""
    configure_logging("info", "json", stream)
    structlog.get_logger().info("learning", loss=float("nan"), events=3)
    try:
        int("gone")
    except ValueError:
        logging.getLogger("uvicorn.error").exception("failed %s", "badly")
    ours, theirs = told(stream)
    assert (ours["event"], ours["level"], ours["loss"], ours["events"]) == ("learning", "info", None, 3)
    assert str(ours["timestamp"]).endswith("Z")
    assert (theirs["event"], theirs["level"]) == ("failed badly", "error")
    assert "ValueError: invalid literal" in str(theirs["exception"])


def test_console_lines_are_coloured_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Colours on a terminal, none in a file, none with NO_COLOR."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    written = []
    for stream, no_color in ((Terminal(), ""), (io.StringIO(), ""), (Terminal(), "1")):
        monkeypatch.setenv("NO_COLOR", no_color)
        configure_logging("info", "console", stream)
        structlog.get_logger().info("learning", events=3)
        written.append(stream.getvalue())
    assert ["\x1b[" in text for text in written] == [True, False, False]
    assert "learning" in written[1]
    assert "events=3" in written[1]


def test_text_of_a_record_cannot_break_a_line(clock: Clock, stream: io.StringIO) -> None:
    """Line breaks and escape sequences in a dead letter's message are quoted."""
    configure_logging("info", "console", stream)
    LogLines(structlog.get_logger(), clock)(refused(message="bad\n2030-01-01 [info] forged \x1b[2J"))
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()


def test_level_can_be_changed(stream: io.StringIO) -> None:
    """A second call sets another level and doubles no line, and loggers of the standard library follow."""
    configure_logging("warning", "json", stream)
    structlog.get_logger().info("unheard")
    logging.getLogger("some.library").info("unheard")
    configure_logging("debug", "json", stream)
    structlog.get_logger().info("heard")
    logging.getLogger("some.library").debug("heard too")
    assert [line["event"] for line in told(stream)] == ["heard", "heard too"]


def test_without_a_stream_the_present_stderr_is_used(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `sys.stderr` is when the line is written counts, so that a live view can take the lines."""
    configure_logging("info", "json")
    monkeypatch.setattr(sys, "stderr", stream)
    structlog.get_logger().info("to the view")
    assert [line["event"] for line in told(stream)] == ["to the view"]


@pytest.mark.parametrize(("level", "format_"), [("loud", "json"), ("info", "xml")])
def test_unknown_settings_are_refused(level: str, format_: str) -> None:
    """The message names the field, the value and what is allowed."""
    with pytest.raises(ConfigError, match=r"log\.(level = 'loud'.*warning|format = 'xml'.*console)"):
        configure_logging(level, format_)


def test_progress_at_most_once_in_ten_seconds(lines: LogLines, clock: Clock, stream: io.StringIO) -> None:
    """100 events/s for 25 s give two lines with the rate, the losses and the lag; silence gives none."""
    lines(turned(lag=[5, 7]))
    losses = Prequential().fold(4.0, 2.0, float("nan"), 0.5)
    for number in range(1, 2501):
        clock.seconds += 0.01
        lines(learned(events=number, prequential=losses))
    first, second = told(stream)
    assert first["event"] == second["event"] == "learning"
    assert first["events_per_second"] == pytest.approx(100, rel=0.02)
    assert (first["loss_meta"], first["loss_memory"], first["lag_records"]) == (4.0, None, 12)
    clock.seconds += 10
    lines(turned())
    assert [line["event"] for line in told(stream)] == ["learning"] * 3
    for _ in range(50):
        clock.seconds += 1
        lines(turned())
    assert len(told(stream)) == 3


def test_dead_letters_are_told_and_then_counted(lines: LogLines, clock: Clock, stream: io.StringIO) -> None:
    """Ten dead letters in 10 s are told one by one, the others as one number; then ten again."""
    for _ in range(250):
        lines(refused(Reason.UNDECODABLE, "no JSON"))
    assert len(told(stream)) == 10
    assert told(stream)[0]["reason"] == "undecodable"
    assert told(stream)[0]["message"] == "no JSON"
    clock.seconds += 10
    lines(turned())
    assert told(stream)[-1]["suppressed"] == 240
    lines(refused())
    assert told(stream)[-1]["event"] == "dead letter"
    assert len(told(stream)) == 12


def test_each_reason_has_its_own_lines(lines: LogLines, stream: io.StringIO) -> None:
    """A flood of one reason hides no other; at the end what was left out is told by reason."""
    for _ in range(25):
        lines(refused(Reason.UNDECODABLE))
    for _ in range(12):
        lines(refused(Reason.TOO_LARGE))
    shown = [line["reason"] for line in told(stream)]
    assert shown == ["undecodable"] * 10 + ["too_large"] * 10
    lines.end()
    assert told(stream)[-1]["suppressed"] == 17
    assert told(stream)[-1]["by_reason"] == {"undecodable": 15, "too_large": 2}
    lines.end()
    assert len(told(stream)) == 21


def test_a_live_view_needs_no_progress_lines(clock: Clock, stream: io.StringIO) -> None:
    """Everything else is told as ever."""
    configure_logging("info", "json", stream)
    lines = LogLines(structlog.get_logger(), clock, progress=False)
    for outcome in (learned(), refused()):
        clock.seconds += 11
        lines(outcome)
    assert [line["event"] for line in told(stream)] == ["dead letter"]


def test_signals_are_told(clock: Clock, stream: io.StringIO) -> None:
    """With their names, once, at the next outcome; the checkpoint that was asked for is told when written."""
    configure_logging("info", "json", stream)
    received = deque(["SIGUSR1"])
    lines = LogLines(structlog.get_logger(), clock, received=received)
    for outcome in (turned(), checkpointed(), checkpointed()):
        lines(outcome)
    received.append("SIGHUP")
    lines(turned())
    assert [(line["event"], line.get("signal")) for line in told(stream)] == [
        ("signal received", "SIGUSR1"),
        ("checkpoint written", None),
        ("signal received", "SIGHUP"),
    ]


def test_tells_changes_of_the_source_once(lines: LogLines, stream: io.StringIO) -> None:
    """Connection lost and back, restore begin and end: one line each, however often the loop turns."""
    for outcome in (
        *[turned(restoring=True)] * 3,
        *[turned()] * 3,
        *[turned(connected=False)] * 3,
        *[turned()] * 3,
    ):
        lines(outcome)
    events = [line["event"] for line in told(stream)]
    assert events == ["restore begins", "restore done", "no broker, trying again", "broker is back"]


def test_a_failed_checkpoint_is_an_error(lines: LogLines, stream: io.StringIO) -> None:
    """Good checkpoints are silent, a failed one is not."""
    lines(checkpointed())
    lines(checkpointed(ok=False))
    assert [(line["event"], line["level"]) for line in told(stream)] == [("checkpoint failed", "error")]


def test_a_wait_for_a_compiler_is_told(lines: LogLines, stream: io.StringIO) -> None:
    """With the shapes; a trace, which takes half a second, is not."""
    lines(Executing(0, 0, 0, 0, 0, 0.0, "tracing the step of float32[1,3,2]"))
    lines(Executing(0, 1, 0, 0, 0, 0.0, "compiling the step of float32[1,3,2]"))
    lines(Executing(1, 0, 0, 0, 0, 20.0))
    assert [line["step"] for line in told(stream)] == ["compiling the step of float32[1,3,2]"]
