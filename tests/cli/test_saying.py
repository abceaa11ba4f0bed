"""What came from outside steers no terminal: not in tables, summaries, plans, errors or logs."""

import json
import logging
from pathlib import Path

import pytest
import structlog

from streammeta.cli import dlq
from streammeta.cli.saying import say
from streammeta.events import Record
from streammeta.observe.logs import configure_logging
from streammeta.recording.writer import Writer
from tests.cli.conftest import Invoke

STEERING = "\x1b[2J\x9b31m\u202e\r\x07"
SHOWN = r"\x1b[2J\x9b31m\u202e\r\x07"
PREFIX = "__streammeta.errors."


def harmless(text: str) -> bool:
    """Whether nothing but lines of printable text is there."""
    return all(line.isprintable() for line in text.split("\n"))


def letter() -> Record:
    """A dead letter that whoever may write to the topic made up."""
    facts = {
        "topic": "t",
        "partition": "0",
        "offset": "7",
        "stage": "decode",
        "reason": f"r{STEERING}\nx",
        "message": f"m{STEERING}",
    }
    headers = tuple((PREFIX + name, text.encode()) for name, text in facts.items())
    return Record("t.dlq", 0, 0, 0, f"task{STEERING}".encode(), b"", headers)


@pytest.mark.parametrize("output", ["text", "json"])
def test_dead_letters(output: str, streammeta: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """Key, reason and message are quoted, in the table and in the summary."""
    monkeypatch.setattr(dlq, "dead_letter_records", lambda _: iter([letter()]))
    done = streammeta("dlq", "list", "--output", output)
    assert done.exit_code == 0, done.output
    assert harmless(done.stdout)
    assert harmless(done.stderr)
    if output == "text":
        assert f"task{SHOWN}" in done.stdout
        assert f"m{SHOWN}" in done.stdout
        assert rf"r{SHOWN}\nx 1" in done.stderr
    else:
        assert json.loads(done.stdout)[0]["key"] == f"task{STEERING}"


def test_the_plan_of_a_replay(streammeta: Invoke, tmp_path: Path) -> None:
    """The topic's name comes from the recording."""
    writer = Writer(tmp_path / "recording", "topic", f"topic{STEERING}\nrecords 7")
    writer.append([Record("topic", 0, 0, 0, b"k", b"v")])
    writer.roll()
    writer.abandon()
    done = streammeta("replay", tmp_path / "recording", "--dry-run")
    assert done.exit_code == 0, done.output
    assert harmless(done.output)
    assert rf"topic       topic{SHOWN}\nrecords 7" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("config", "check", "--config", f"absent{STEERING}.toml"),
        ("config", "check", "--set", f"kafka.{STEERING}=1"),
        ("config", "show", "--set", f"kafka.client.client_id={STEERING}"),
        ("config", "show", "--format", "json", "--set", f"kafka.client.client_id={STEERING}"),
        ("doctor", "--config", f"absent{STEERING}.toml"),
        ("tasks", "list", "--state", f"absent{STEERING}"),
        ("replay", f"absent{STEERING}"),
        (STEERING,),
        ("config", "check", f"--{STEERING}"),
        ("export", "--state", "absent", f"--sta{STEERING}"),
    ],
    ids=lambda given: " ".join(given[:2]).encode("unicode_escape").decode(),
)
def test_errors_that_cite_what_was_given(arguments: tuple[str, ...], streammeta: Invoke) -> None:
    """What was mistyped, or pasted, is cited quoted."""
    done = streammeta(*arguments)
    assert harmless(done.output)
    assert "2J" in done.output


@pytest.mark.parametrize("format", ["console", "json"])
def test_logs(format: str, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: A002 (log.format)
    """Messages, values, tracebacks, and lines of other libraries, in both forms."""
    configure_logging("info", format)
    error = ValueError(STEERING)
    structlog.get_logger().error(f"event{STEERING}", value=STEERING, deep=[STEERING], exc_info=error)
    logging.getLogger("other").warning("%s", STEERING)
    text = capsys.readouterr().err
    assert text.count("2J") >= 4
    assert harmless(text)
    if format == "json":
        first, second = map(json.loads, text.splitlines())
        assert first["value"] == second["event"] == STEERING


def test_what_cannot_be_encoded_is_quoted_too(capsys: pytest.CaptureFixture[str]) -> None:
    """A name of a file that is no text ends no program."""
    say("caf\udce9")
    assert capsys.readouterr().out == "caf\\udce9\n"
