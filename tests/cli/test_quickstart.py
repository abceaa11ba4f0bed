"""`streammeta quickstart`: its settings, its stream in process, and a short run without a broker."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest

from streammeta.cli.quickstart import (
    EVENTS_PER_SECOND,
    SETTINGS,
    TASKS,
    _program,
    _stopped_after,
    connect_generated,
)
from streammeta.codec import decode
from streammeta.config import Config, load_config
from streammeta.events import Record, Run
from streammeta.runtime.controls import Controls
from streammeta.runtime.signals import signals_to
from streammeta.stream.generated import GeneratedSource
from tests.cli.conftest import Invoke
from tests.end_to_end.program import wait_until


@pytest.fixture
def source() -> GeneratedSource:
    """The source that takes the broker's place."""
    made, _ = connect_generated(Config(), lambda: True)
    assert isinstance(made, GeneratedSource)
    return made


def test_the_settings_are_those_of_the_configuration() -> None:
    """Each is known, and none is the default already."""
    assert EVENTS_PER_SECOND > 0
    for setting in SETTINGS:
        assert load_config(None, [setting], {}) != Config()


def test_the_stream_in_process_is_that_of_the_producer(source: GeneratedSource) -> None:
    """Records of the configured topic that decode, of the producer's tasks, at rising offsets."""
    source.start({})
    records = source.fetch(Run(0, 0, 300))
    assert [(r.topic, r.partition, r.offset) for r in records] == [("tasks", 0, n) for n in range(300)]
    assert {decode(r, max_bytes=10_000).task for r in records} == {f"sinusoid/{n}" for n in range(TASKS)}
    assert all(one.value != other.value for one, other in pairwise(records))


@pytest.mark.parametrize("first", [0, 1, 137])
def test_the_stream_in_process_can_be_made_again(first: int, source: GeneratedSource) -> None:
    """From any offset on, the same bytes: recovery asks for them a second time."""
    source.start({})
    once: list[Record] = list(source.fetch(Run(0, 0, 150)))
    assert list(source.fetch(Run(0, first, 150))) == once[first:]


def test_a_duration_is_a_signal_in_time() -> None:
    """As if Ctrl-C were pressed; without a duration none comes, and after the block none either."""
    controls = Controls()
    with signals_to(controls):
        with _stopped_after(0.02):
            wait_until(lambda: controls.stop, "the signal", timeout_seconds=120)
        controls.stop = False
        with _stopped_after(None):
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        with _stopped_after(3600.0):
            pass
        assert not controls.stop


PARENT = """
import sys, time
from pathlib import Path
from streammeta.cli.quickstart import _producer

with _producer("127.0.0.1:1", Path(sys.argv[1])):
    print("begun", flush=True)
    time.sleep(60)
"""


def producers(log: Path) -> list[str]:
    """The processes that write to this log file."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "fd" / "1").resolve() == log:
                found.append(process.name)
    return found


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="processes are found through /proc")
def test_the_producer_ends_with_its_parent(tmp_path: Path) -> None:
    """Also when that is killed, which lets it tell nobody: a second Ctrl-C is such an end."""
    log = tmp_path / "producer.log"
    command = [sys.executable, "-c", PARENT, str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "begun\n"
        wait_until(lambda: len(producers(log)) == 2, "watchdog and producer", timeout_seconds=120)
        parent.kill()
    wait_until(lambda: not producers(log), "their end", timeout_seconds=120)


def test_the_program_is_named_as_it_was_called(tmp_path: Path) -> None:
    """A path where a path was given, quoted for a shell; the module where that was run."""
    program = tmp_path / "my environment" / "streammeta"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    assert _program(str(program)) == f"'{program}'"
    assert _program("/some/where/streammeta/__main__.py").endswith(" -m streammeta")
    assert _program("-c") == "streammeta"
    installed = shutil.which("streammeta")
    if installed is not None:
        assert _program(installed) == "streammeta"


def test_without_a_broker_it_learns_and_says_goodbye(streammeta: Invoke, tmp_path: Path) -> None:
    """Events are learned, the state is kept where asked (any name), and a second run goes on with it."""
    state = tmp_path / 'it\'s "my" stäte'
    before = 0
    for _ in range(2):
        done = streammeta("quickstart", "--no-broker", "--duration", 1.5, "--port", 0, "--state", state)
        assert done.exit_code == 0, done.output
        assert "no broker: the producer feeds the learner in this process" in done.stderr
        assert re.search(r"^streammeta is learning: open http://127\.0\.0\.1:\d+", done.stdout)
        learned = re.search(r"^learned from ([\d,]+) events?; state kept in (.+)$", done.stdout, re.MULTILINE)
        assert learned is not None
        assert learned[2] == str(state)
        events = int(learned[1].replace(",", ""))
        assert events > before
        last = done.stdout.splitlines()[-1]
        assert last.startswith("look at it: ")
        *_, verb, noun, option, quoted = shlex.split(last.partition(": ")[2])
        assert (verb, noun, option, quoted) == ("tasks", "list", "--state", str(state))
        before = events
    assert os.listdir(tmp_path) == [state.name]  # noqa: PTH208 (names as the system has them)
    listed = streammeta("tasks", "list", "--state", state)
    assert listed.exit_code == 0
    assert "sinusoid/" in listed.stdout
