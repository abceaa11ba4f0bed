"""Signals as flags, handlers put back, and the second interrupt in a process of its own."""

import os
import signal
import subprocess
import sys
from contextlib import nullcontext

import pytest

from streammeta.runtime.controls import Controls
from streammeta.runtime.signals import signals_to

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)

PATIENT = """
import time
from streammeta.runtime.controls import Controls
from streammeta.runtime.signals import signals_to

controls = Controls()
with signals_to(controls):
    print("ready", flush=True)
    while not controls.stop:  # a pause would miss a signal that came just before it
        time.sleep(0.01)
    print("asked", flush=True)
    while True:
        time.sleep(1)
"""


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (signal.SIGTERM, Controls(stop=True)),
        (signal.SIGINT, Controls(stop=True)),
        (signal.SIGHUP, Controls(reload=True)),
        (signal.SIGUSR1, Controls(checkpoint=True)),
    ],
)
def test_a_signal_sets_its_flag(number: signal.Signals, expected: Controls) -> None:
    """One flag, no other; nothing else happens."""
    controls = Controls()
    with signals_to(controls):
        assert controls == Controls()
        os.kill(os.getpid(), number)
        assert controls == expected


def test_reload_and_checkpoint_may_come_often() -> None:
    """Only a second stop ends the process."""
    controls = Controls()
    with signals_to(controls):
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGUSR1)
    assert controls == Controls(reload=True, checkpoint=True)


@pytest.mark.parametrize("fails", [False, True])
def test_handlers_are_put_back(fails: bool) -> None:
    """Also when the block ends by an exception; Ctrl-C is then an ordinary interrupt again."""
    before = [signal.getsignal(number) for number in HANDLED]
    with pytest.raises(KeyError) if fails else nullcontext(), signals_to(Controls()):
        now = [signal.getsignal(number) for number in HANDLED]
        assert not any(new is old for new, old in zip(now, before, strict=True))
        if fails:
            raise KeyError
    assert [signal.getsignal(number) for number in HANDLED] == before


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_interrupt_exits_130_at_once(second: signal.Signals) -> None:
    """The first is waited out, whichever of the two the second is."""
    with subprocess.Popen([sys.executable, "-c", PATIENT], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGTERM)
            assert process.stdout.readline() == "asked\n"
            assert process.poll() is None
            process.send_signal(second)
            assert process.wait(timeout=120) == 130
        finally:
            process.kill()
