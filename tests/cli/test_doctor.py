"""`streammeta doctor`: its lines on terminals and in pipes, its JSON, its exit code."""

import json
from pathlib import Path

from streammeta.cli.doctor import told
from streammeta.errors import ConfigError
from streammeta.programs.doctor.check import fault, ok, warning
from tests.cli.conftest import Invoke

AWAY = (
    "--set",
    "kafka.bootstrap_servers=127.0.0.1:1",
    "--set",
    "kafka.connect_timeout_seconds=0.5",
    "--set",
    "http.port=0",
)
COMMAND = "kafka-topics --bootstrap-server localhost:9092 --create --topic " + "t" * 60


def test_words_are_wrapped_and_commands_are_not() -> None:
    """On 60 columns, with the verdict before them; in a pipe a line of the words is a line."""
    check = fault(
        "topic", ConfigError(f"topic 'tttt' does not exist at localhost:9092. Create it: {COMMAND}")
    )
    lines = told(check, 60).splitlines()
    assert lines[0].startswith("FAULT   topic          topic 'tttt'")
    assert lines[-1] == " " * 23 + COMMAND
    assert max(map(len, lines[:-1])) <= 60
    assert len(told(check, 100_000).splitlines()) == 2


def test_each_remedy_has_its_line() -> None:
    """Behind an arrow, hanging."""
    lines = told(warning("records", "2 of 3", "first thing\nsecond thing " + "word " * 20), 80).splitlines()
    assert [line.strip()[0] for line in lines[1:3]] == ["→", "→"]
    assert lines[3].startswith(" " * 25 + "word")
    assert told(ok("disk", "much"), 80) == "ok      disk           much"


def test_json(streammeta: Invoke, tmp_path: Path) -> None:
    """One object: the exit code and the checks."""
    done = streammeta("doctor", *AWAY, "--set", f"state.dir={tmp_path / 'state'}", "--format", "json")
    told_all = json.loads(done.stdout)
    assert done.exit_code == told_all["exit_code"] == 69
    assert [check["name"] for check in told_all["checks"]] == [
        "configuration",
        "model",
        "http",
        "state",
        "disk",
        "broker",
    ]
    assert set(told_all["checks"][0]) == {"name", "verdict", "words", "remedy", "exit_code", "facts"}
    assert not (tmp_path / "state").exists()


def test_a_model_comes_before_the_broker(streammeta: Invoke, tmp_path: Path) -> None:
    """Of several faults the exit code is the configuration's; the last line counts them."""
    done = streammeta(
        "doctor", *AWAY, "--set", f"state.dir={tmp_path / 'state'}", "--set", "model.device=cuda:99"
    )
    assert done.exit_code == 78
    assert done.stdout.splitlines()[-1] == "2 faults"


def test_a_wrong_setting(streammeta: Invoke) -> None:
    """Told as a check, nothing else is looked at."""
    done = streammeta("doctor", "--set", "model.devise=cpu")
    assert done.exit_code == 78
    assert "did you mean 'device'?" in done.stdout
    assert done.stdout.splitlines()[-1] == "1 fault"
