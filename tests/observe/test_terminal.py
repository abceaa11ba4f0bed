"""The live view, on a recorded console and on a real pseudo-terminal."""

import io
import os
import pty
import select
import subprocess
import sys
import textwrap
import time

import pytest
from rich.console import Console

from streammeta.errors import Reason
from streammeta.evaluation.forgetting import Recalled
from streammeta.evaluation.prequential import Prequential, Scores
from streammeta.observe.status import Status
from streammeta.observe.terminal import TerminalView
from tests.observe.outcomes import Clock, checkpointed, learned, refused, turned


@pytest.fixture
def clock() -> Clock:
    """A clock of this test alone."""
    return Clock()


@pytest.fixture
def status(clock: Clock) -> Status:
    """A status after falling losses."""
    status = Status(
        topic="tasks",
        algorithm="moml",
        version="1.2.3",
        torch_version="2.13.0",
        clock=clock,
        started_at_seconds=1_700_000_000.0,
    )
    status(turned(lag=[1000, 234]))
    fading = Prequential()
    for number in range(1, 301):
        clock.seconds += 0.1
        fading = fading.fold(4.0, 800.0 / (number + 100), 1.0, 0.5)
        status(learned(events=12_000 + number, loss_adapted=800.0 / (number + 100), prequential=fading))
    status(refused(Reason.TOO_LARGE))
    status(checkpointed())
    return status


def shown(view: TerminalView, *, encoding: str = "utf-8", width: int = 80) -> str:
    """What a terminal of this width would show, without colours."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=stream, width=width, color_system=None, record=True)
    console.print(view.render())
    return console.export_text()


def test_says_all_in_80_columns(status: Status, clock: Clock) -> None:
    """Every number a person looks for stands in the view, no line is longer than 80, none is cut."""
    view = TerminalView(status, Console(file=io.StringIO(), width=80), "http://127.0.0.1:9464")
    clock.seconds += 3
    text = shown(view)
    for part in (
        *("12,300 events", "events/s", "1,234 behind, 2 partitions", "learning"),
        *(
            "at the meta-parameters",
            "after one adaptation",
            "▼",
            "100 stored, 10 in memory",
            "1 (too_large 1)",
        ),
        *("3 s ago, 34 kB in 12 ms", "http://127.0.0.1:9464", "streammeta · moml · tasks"),
    ):
        assert part in text
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text


def test_accuracy_and_forgetting_have_rows_where_they_are_known(status: Status) -> None:
    """Of a classifier whose tasks keep earlier query sets; others have neither row."""
    view = TerminalView(status, Console(file=io.StringIO(), width=80))
    assert not {"accuracy", "forgetting"} & set(shown(view).split())
    scores, recalled = Scores(meta=0.25, adapted=0.5, memory=0.75), Recalled(loss=1.5, forgetting=0.25)
    status(learned(prequential=Prequential().fold(1.0, 1.0, 1.0, 1.0, scores, recalled)))
    text = shown(view)
    assert "0.250 meta, 0.500 adapted, 0.750 memory" in text
    assert "+0.25, to 1.5 on earlier sets" in text


@pytest.mark.parametrize("width", [50, 80])
def test_a_replay_has_a_bar(width: int, status: Status) -> None:
    """How much of the recording was read; no such row while a topic is read."""
    view = TerminalView(status, Console(file=io.StringIO(), width=width))
    assert "replayed" not in shown(view, width=width)
    status(turned(replayed=0.42))
    (row,) = [line for line in shown(view, width=width).splitlines() if "replayed" in line]
    assert "━━━━" in row
    assert "42%" in row


@pytest.mark.parametrize("width", [50, 60, 79])
def test_rows_keep_their_names_where_there_is_little_room(width: int, status: Status) -> None:
    """Sparklines and first values go, what a row is about and how it stands does not."""
    view = TerminalView(status, Console(file=io.StringIO(), width=width), "http://127.0.0.1:9464")
    text = shown(view, width=width)
    for name in ("at the meta-parameters", "after one adaptation", "at the task's memory", "▼"):
        assert name in text
    for name in ("tasks  ", "dead letters  ", "checkpoint  ", "page  "):
        assert name in text
    assert max(map(len, text.splitlines())) <= width


def test_losses_leave_a_trace(status: Status, clock: Clock) -> None:
    """The sparkline falls with the loss, one bar a second."""
    view = TerminalView(status, Console(file=io.StringIO(), width=80))
    fading = Prequential()
    for number in range(8):
        clock.seconds += 1
        fading = Prequential().fold(4.0, 8.0 - number, 1.0, 0.5)
        status(learned(prequential=fading))
        view.render()
        view.render()
    assert "█▇▆▅▄▃▂▁" in shown(view)


def test_plain_characters_where_the_terminal_has_no_others(status: Status) -> None:
    """On a Latin-1 terminal neither bars nor triangles appear; the change shows as a sign."""
    console = Console(file=io.TextIOWrapper(io.BytesIO(), encoding="latin-1"))
    text = shown(TerminalView(status, console), encoding="latin-1")
    assert "▼" not in text
    assert "- " in text


SCRIPT = """
    import sys, time
    import structlog
    from rich.console import Console
    from streammeta.observe.logs import configure_logging
    from streammeta.observe.status import Status
    from streammeta.observe.terminal import TerminalView

    configure_logging("info", "console")
    names = {"topic": "tasks", "algorithm": "moml", "version": "1", "torch_version": "2"}
    status = Status(**names, clock=time.monotonic, started_at_seconds=0.0)
    with TerminalView(status, Console(stderr=True)):
        structlog.get_logger().info("a line from the log")
        input()
        raise RuntimeError("in the middle")
"""


def read_until(master: int, mark: bytes, seconds: float = 30.0) -> bytes:
    """What the terminal got, up to and with `mark`."""
    seen, deadline = b"", time.monotonic() + seconds
    while mark not in seen:
        ready, _, _ = select.select([master], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"no {mark!r} within {seconds} s in {seen!r}"
        seen += os.read(master, 65536)
    return seen


def test_on_a_real_terminal_an_error_gives_it_back() -> None:
    """The cursor is hidden while the view is drawn and shown again after an error; log lines stand above."""
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
    program = [sys.executable, "-c", textwrap.dedent(SCRIPT)]
    with subprocess.Popen(program, stdin=slave, stdout=slave, stderr=slave, env=environment) as process:
        os.close(slave)
        begun = read_until(master, b"starting")
        if b"a line from the log" not in begun:
            begun += read_until(master, b"a line from the log")
        assert b"\x1b[?25l" in begun
        os.write(master, b"\n")
        ended = read_until(master, b"RuntimeError: in the middle")
    os.close(master)
    assert b"\x1b[?25h" in ended
    assert process.returncode == 1
