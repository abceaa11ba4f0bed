"""One process tries what two died of while another watches: what each end of it means."""

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from streammeta.events import Record
from streammeta.programs.watching import watch
from streammeta.state.trials import Trials, watches_left

R = Record("t", 0, 5, 0, b"k", b"v")
BEGIN = """
import os, signal, sys
from pathlib import Path
from streammeta.events import Record
from streammeta.state.trials import Trials
trials = Trials(Path(sys.argv[1]), acquitted=lambda: None)
"""
TRY = BEGIN + "trials.begin_life(); trials.learning([Record('t', 0, 5, 0, b'k', b'v')]);"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Marks of two processes that died of one record."""
    path = tmp_path / "trials"
    for _ in range(2):
        trials = Trials(path)
        trials.begin_life()
        trials.learning([R])
    return path


def command(path: Path, code: str) -> Sequence[str]:
    """Python that does this."""
    return [sys.executable, "-c", code, str(path)]


def test_nothing_is_tried_without_two_deaths(tmp_path: Path) -> None:
    """The usual start costs one look at a file."""
    assert watch(tmp_path / "trials", ["no such program"]) is None


@pytest.mark.parametrize(
    ("code", "ended", "condemned"),
    [
        (TRY + "trials.over(); trials.close()", None, 0),
        (TRY + "os.kill(os.getpid(), signal.SIGKILL)", None, 1),
        (TRY + "os._exit(3)", None, 1),
        (BEGIN + "trials.close(); sys.exit(69)", 69, 1),
        (BEGIN + "os.kill(os.getpid(), signal.SIGKILL)", 137, 1),
    ],
    ids=["well", "killed", "ended by native code", "no broker", "killed before"],
)
def test_its_end_decides(code: str, ended: int | None, condemned: int, path: Path) -> None:
    """Well: learned, this one goes on. Died of it: this one passes it. Never began: nothing was judged."""
    assert watch(path, command(path, code)) == ended
    assert watches_left(path) == (3 if ended else 2 if condemned else 0)
    assert len(Trials(path).condemned) == condemned


WATCHER = """
import sys
from pathlib import Path
from streammeta.programs.watching import watch
sys.exit(watch(Path(sys.argv[1]), [sys.executable, *sys.argv[2:]]) or 0)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_who_ends_it_ends_both(number: signal.Signals, path: Path) -> None:
    """A request to stop is passed on, and its exit code kept; a kill leaves nobody behind. No verdict."""
    tried = (
        "import os; from streammeta.programs.watching import end_with; end_with(os.getppid());"
        + TRY
        + "signal.signal(signal.SIGTERM, lambda *_: (trials.close(), os._exit(0)));"
        + "print('tries', flush=True); signal.pause()"
    )
    words = [sys.executable, "-c", WATCHER, str(path), "-c", tried, str(path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as watcher:
        assert watcher.stdout is not None
        next(line for line in watcher.stdout if line == "tries\n")
        watcher.send_signal(number)
        assert watcher.stdout.read() == ""  # which both had open: the other is gone too
        assert watcher.wait(30) == (0 if number == signal.SIGTERM else -number)
    assert watches_left(path) == (0 if number == signal.SIGTERM else 2)
