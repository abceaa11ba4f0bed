"""The command line as a whole: help that does not wait, misspelt words, exit codes."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from streammeta.cli import VERBS
from streammeta.state.directory import StateDirectory
from tests.cli.conftest import Invoke
from tests.states import make_state

HELP_WITHOUT_TORCH = """
import sys
from streammeta.cli import main
main([*sys.argv[1:], "--help"], standalone_mode=False)
heavy = {"torch", "kafka", "lmdb", "pydantic"} & set(sys.modules)
assert not heavy, heavy
"""


def test_help_waits_for_nothing() -> None:
    """`--help` lists every verb without importing torch, kafka-python, LMDB or pydantic."""
    done = subprocess.run(
        [sys.executable, "-c", HELP_WITHOUT_TORCH], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert set(VERBS) <= set(done.stdout.split())


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_its_own_help(verb: str, streammeta: Invoke) -> None:
    """Each is where the table says, under the same name."""
    for flag in ("--help", "-h"):
        shown = streammeta(verb, flag)
        assert shown.exit_code == 0
        assert re.match(rf"Usage: main {verb} ", shown.stdout)


def test_the_module_is_the_program() -> None:
    """`python -m streammeta` calls itself streammeta, and knows its version."""
    done = subprocess.run(
        [sys.executable, "-m", "streammeta", "--version"], capture_output=True, text=True, check=True
    )
    assert re.fullmatch(r"streammeta, version \d+\.\d+\.\d+\S*\n", done.stdout)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rnu"], "No such command 'rnu'; did you mean 'run'?"),
        (["exprot"], "did you mean 'export'?"),
        (["rnu"], "did you mean 'run'?\n"),
        (["zzz"], "No such command 'zzz'.\n"),
        (["tasks", "lst"], "Did you mean 'list'?"),
        (["run", "--confg", "x"], "Did you mean '--config'?"),
        (["tasks", "list"], "Missing option '--state'"),
        (["tasks", "list", "--state", "x", "--sort", "los"], "'loss'"),
        (["tasks", "list", "--state", "x", "--limit", "-1"], "-1 is not in the range x>=0"),
        (["tasks", "show", "--state", "x"], "Missing argument 'ID'"),
        (["export", "--state", "x"], "Missing option '--output'"),
        (["quickstart", "--duration", "0"], "0.0 is not in the range x>0"),
        (["quickstart", "--port", "70000"], "70000 is not in the range 0<=x<=65535"),
    ],
)
def test_misuse_exits_2_and_helps(arguments: list[str], said: str, streammeta: Invoke) -> None:
    """What is wrong, and the nearest word that is known; nothing on stdout."""
    refused = streammeta(*arguments)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert said in refused.stderr


def test_a_setting_misspelt_exits_78(streammeta: Invoke) -> None:
    """The nearest known key is named; a message alone, no traceback."""
    refused = streammeta("run", "--set", "algorithm.betta=0.5")
    assert (refused.exit_code, refused.stdout) == (78, "")
    assert refused.stderr.startswith("streammeta: ")
    assert "did you mean 'beta'?" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_model_that_is_not_there_exits_78(streammeta: Invoke, tmp_path: Path) -> None:
    """What only building the model shows is told in the same way."""
    refused = streammeta(*run(tmp_path, "model.factory=no.such:model"))
    assert refused.exit_code == 78
    assert "cannot import no.such" in refused.stderr


def test_a_model_beside_the_configuration_is_found(
    streammeta: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program looks in the working directory: the model is built, and only then no broker answers."""
    (tmp_path / "beside_me.py").write_text("from torch import nn\ndef build():\n    return nn.Linear(1, 1)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    nobody = ("kafka.bootstrap_servers=127.0.0.1:1", "kafka.connect_timeout_seconds=0.1")
    refused = streammeta(*run(tmp_path / "state", "model.factory=beside_me:build", *nobody))
    assert refused.exit_code == 69, refused.output


def test_a_state_in_use_exits_73(streammeta: Invoke, tmp_path: Path) -> None:
    """Before anything is connected; the holder is named."""
    with StateDirectory(tmp_path):
        refused = streammeta(*run(tmp_path))
    assert refused.exit_code == 73
    assert re.search(r"process \d+ writes to it; stop that process", refused.stderr)


def test_a_state_of_another_model_exits_65(streammeta: Invoke, tmp_path: Path) -> None:
    """Each difference is named, and the remedy."""
    refused = streammeta(*run(make_state(tmp_path)))
    assert refused.exit_code == 65
    assert "the state does not fit the configuration" in refused.stderr
    assert "state.dir" in refused.stderr


def test_no_broker_exits_69(streammeta: Invoke, tmp_path: Path) -> None:
    """After the deadline, with the address; the state directory is free again."""
    settings = ("kafka.bootstrap_servers=127.0.0.1:1", "kafka.connect_timeout_seconds=0.3")
    refused = streammeta(*run(tmp_path, *settings))
    assert refused.exit_code == 69
    assert "127.0.0.1:1" in refused.stderr
    with StateDirectory(tmp_path):
        pass


def run(directory: Path, *settings: str) -> list[str]:
    """The daemon on a free port, over this state directory."""
    flags = [f"--set={setting}" for setting in ("http.port=0", f"state.dir={directory}", *settings)]
    return ["run", *flags]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGHUP, 7), (signal.SIGUSR1, 7)]
)
def test_signals_before_the_daemon_listens(number: signal.Signals, code: int) -> None:
    """While torch is imported a stop ends with 0; a reload or checkpoint asks for nothing yet and passes."""
    program = (
        "import sys\n"
        "from streammeta.cli.early import heed_early_signals\n"
        "heed_early_signals()\n"
        "print('importing', flush=True)\n"
        "sys.stdin.read()\n"
        "sys.exit(7)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "importing\n"
        process.send_signal(number)
        if code:
            process.stdin.close()
        assert process.wait(timeout=120) == code


VERBS_WITHOUT_A_MODEL = [
    ("config", "check", "--config", "absent.toml"),
    ("tasks", "list", "--state", "state"),
    ("export", "--state", "state", "--output", "o.safetensors", "--task", "absent"),
    ("checkpoint", "verify", "--state", "state"),
    ("evaluate", "sinusoid", "--state", "state", "--episodes", "1"),
]


@pytest.mark.parametrize("arguments", VERBS_WITHOUT_A_MODEL, ids=" ".join)
def test_a_file_in_the_working_directory_is_not_imported(
    arguments: tuple[str, ...], streammeta: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A verb that loads no factory and no loss of the user's does not even look there."""
    make_state(tmp_path / "state")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", str(tmp_path))])
    streammeta(*arguments)
    assert str(tmp_path) not in sys.path
