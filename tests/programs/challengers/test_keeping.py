"""A challenger's process is begun, listened to, begun again, given up; nobody waits for it."""

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from streammeta.programs.challengers import keeping
from streammeta.programs.challengers.keeping import Keeper, Patience
from streammeta.programs.challengers.report import Request
from tests.end_to_end.program import wait_until

PATIENCE = Patience(
    restarts=2, pause_seconds=0.01, silent_seconds=30.0, stuck_seconds=30.0, ending_seconds=10
)
REQUEST = Request("a", None, (), "a.toml", "feed")
BEGIN = """
import json, os, sys, time
signs, reports = map(int, sys.argv[1:])
request = b""
while not request.endswith(b"\\n"):
    request += os.read(signs, 1)
assert json.loads(request)["name"] == "a"
def tell(**report):
    os.write(reports, json.dumps(report).encode() + b"\\n")
"""
LEARN = "tell(status={'events': 7}, positions={'0': 7}, segment=2)\n"


class Begun:
    """Keepers of processes that run this script."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch, self.keepers = monkeypatch, list[Keeper]()
        self.told = 0

    def __call__(self, script: str, patience: Patience = PATIENCE) -> Keeper:
        """Begin one."""

        def process(signs: int, reports: int, errors: int | None) -> "subprocess.Popen[bytes]":
            command = [sys.executable, "-S", "-c", BEGIN + script, str(signs), str(reports)]
            return subprocess.Popen(command, stderr=errors, pass_fds=(signs, reports), start_new_session=True)

        self._patch.setattr(keeping, "begin", process)
        keeper = Keeper(REQUEST, told=self._hear, patience=patience, errors=subprocess.DEVNULL)
        self.keepers.append(keeper)
        keeper.start()
        return keeper

    def _hear(self) -> None:
        self.told += 1


@pytest.fixture
def begin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Begun]:
    """What begins keepers; all are stopped at the end."""
    begun = Begun(monkeypatch)
    yield begun
    for keeper in begun.keepers:
        keeper.stop()
        keeper.join()
        assert not keeper.running


def standing(keeper: Keeper, phase: str) -> str:
    """Its words, once it stands so."""
    wait_until(lambda: keeper.standing.phase == phase, lambda: keeper.standing)
    return keeper.standing.words


def test_it_reports_and_ends_when_it_is_told_to(begin: Begun) -> None:
    """The pipe's end is the word to stop; what was told last stays."""
    keeper = begin(LEARN + "while os.read(signs, 9): pass\n")
    standing(keeper, "running")
    assert (keeper.report.positions, keeper.report.segment) == ({0: 7}, 2)
    keeper.stop()
    keeper.join()
    assert keeper.standing.phase == "ended"
    assert keeper.deaths == 0


def test_it_ends_at_the_end_of_the_feed(begin: Begun) -> None:
    """That is no death."""
    keeper = begin(LEARN + "while b'E' not in os.read(signs, 9): pass\n")
    standing(keeper, "running")
    keeper.wake()
    keeper.end()
    assert standing(keeper, "ended") == ""
    assert not keeper.running


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("os._exit(3)", "exit code 3"),
        ("os.kill(os.getpid(), 11)", "signal 11"),
        ("os.kill(os.getpid(), 9)", "want of memory"),
        ("tell(failure='because', exit_code=1); sys.exit(1)", "because"),
        ("sys.exit(0)", "exit code 0"),
        ("os.write(reports, b'nonsense' + bytes([10])); time.sleep(60)", "no report"),
        ("if not os.fork(): time.sleep(60)\nos._exit(4)", "exit code 4"),
    ],
)
def test_one_that_dies_is_begun_again_and_given_up(script: str, words: str, begin: Begun) -> None:
    """After so many deaths in a row without an event learned between."""
    keeper = begin(script)
    assert words in standing(keeper, "failed")
    assert keeper.deaths == PATIENCE.restarts + 1
    assert not keeper.running


@pytest.mark.parametrize("code", [65, 78])
def test_what_another_try_does_not_mend_is_not_tried_again(code: int, begin: Begun) -> None:
    """Its configuration, its state."""
    keeper = begin(f"tell(failure='this key', exit_code={code}); sys.exit({code})")
    assert standing(keeper, "failed") == "this key"
    assert keeper.deaths == 1


@pytest.mark.parametrize(
    ("script", "patience", "words"),
    [
        ("time.sleep(60)", replace(PATIENCE, silent_seconds=0.2), "said nothing"),
        ("while 1: tell(); time.sleep(.05)", replace(PATIENCE, stuck_seconds=0.2), "not begun"),
        (
            "while 1: tell(status={'events': 7}, stuck='it hangs'); time.sleep(.05)",
            replace(PATIENCE, stuck_seconds=0.2),
            "it hangs",
        ),
    ],
    ids=["silent", "starting", "stuck"],
)
def test_one_that_hangs_is_ended(script: str, patience: Patience, words: str, begin: Begun) -> None:
    """Silent; or it reports, and nothing moves."""
    keeper = begin(script, replace(patience, restarts=0))
    assert words in standing(keeper, "failed")


def test_progress_forgives(begin: Begun, tmp_path_factory: pytest.TempPathFactory) -> None:
    """One that learned before it died is not given up for that."""
    path = tmp_path_factory.mktemp("lives") / "lives"
    count = f"open({str(path)!r}, 'a').write('x'); lives = len(open({str(path)!r}).read())\n"
    keeper = begin(
        f"{count}tell(status={{'events': lives}})\n"
        "if lives < 6: os._exit(1)\n"
        "while os.read(signs, 64): pass  # until it is told to end"
    )
    wait_until(lambda: keeper.deaths == 5 and keeper.standing.phase == "running", lambda: keeper.standing)


def test_one_that_does_not_end_is_killed(begin: Begun) -> None:
    """The champion leaves in time."""
    keeper = begin(LEARN + "time.sleep(600)", replace(PATIENCE, ending_seconds=0.3))
    standing(keeper, "running")
    began = time.monotonic()
    keeper.stop()
    for _ in range(100_000):
        keeper.wake()  # a pipe that nobody reads takes no time
    keeper.join()
    assert not keeper.running
    assert time.monotonic() - began < 30.0
