"""`streammeta federated`: without its extra, and on Flower's engine, killed and started again."""

import importlib.util
import json
import signal
import time
from pathlib import Path

import pytest
import torch

from streammeta.errors import StateError
from tests.cli.conftest import Invoke
from tests.end_to_end.processes import Program
from tests.end_to_end.program import wait_until

PATIENCE_SECONDS = 500
"""Ray takes half a minute to start on a slow machine."""


def test_without_the_extra_it_says_how_to_install_it(
    streammeta: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 78, what is missing, and the command; no traceback."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    told = streammeta("federated", "simulate", "--rounds", "1")
    assert told.exit_code == 78
    assert "needs flwr and ray" in told.stderr
    assert "pip install 'streammeta[federated]'" in told.stderr
    assert "Traceback" not in told.output


@pytest.mark.slow
@pytest.mark.timeout(2 * PATIENCE_SECONDS + 100)
def test_killed_and_started_again_it_makes_the_same_rounds(tmp_path: Path) -> None:
    """On Flower's engine, SIGKILL after some rounds, then the rest: w and memories of one run without it."""
    pytest.importorskip("flwr", reason="flwr is not installed: pip install 'streammeta[federated]'")
    from streammeta.federated.memory import file_of
    from streammeta.federated.server import state_of
    from tests.federated.runs import plan_of, run, state_in

    engine, here, output, log = (tmp_path / name for name in ("engine", "here", "output", "log"))
    choices = {"clients": 3, "fraction": 0.67, "silo": True, "beta": 0.5}
    options = ["--clients=3", "--unseen=0", "--fraction=0.67", "--silo", "--beta=0.5", "--local-steps=2"]
    options += ["--shots=3", "--lr=0.02", "--inner-lr=0.02", "--port=0", f"--state={engine}"]
    options += [f"--set={setting}" for setting in plan_of(here).overrides]
    command = ["federated", "simulate", *options, "--format=json"]

    def rounds() -> int:
        time.sleep(0.1)  # between two looks
        try:
            return state_in(engine).positions[0]
        except (StateError, AssertionError):
            return 0

    first = Program([*command, "--rounds=100000"], output, log)
    try:
        wait_until(lambda: rounds() >= 2, log.read_text, PATIENCE_SECONDS)
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait(PATIENCE_SECONDS)
    made = rounds()
    again = Program([*command, f"--rounds={made + 2}"], output, log)
    assert again.wait(PATIENCE_SECONDS) == 0, log.read_text()
    told = json.loads(output.read_text())
    assert (told["rounds"], told["rounds_made"], told["clients"]) == (made + 2, 2, {"answered": 4})
    run(plan_of(here, rounds=made + 2, **choices))
    params = [state_in(path).state.params for path in (engine, here)]
    torch.testing.assert_close(params[0], params[1], rtol=1e-6, atol=1e-9)
    for place in range(3):
        files = [file_of(state_of(path), f"sinewave/{place}") for path in (engine, here)]
        assert files[0].read_bytes() == files[1].read_bytes()
