"""Tables: whole cells where there is no terminal; a terminal's width is kept, and still nothing is cut."""

import re

import pytest

from streammeta.cli.table import print_table

LONG = "a remedy of many words that no narrow terminal has room for, and that must be read to its end"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty columns, no colours."""
    for name, value in (("FORCE_COLOR", "1"), ("NO_COLOR", "1"), ("TERM", "xterm"), ("COLUMNS", "40")):
        monkeypatch.setenv(name, value)


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Lines without styles."""
    return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()


def test_a_pipe_takes_whole_cells(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever COLUMNS says."""
    monkeypatch.setenv("COLUMNS", "40")
    print_table(("name", "what"), [("a", LONG), ("b" * 60, "short")], wraps=[1])
    head, first, second = printed(capsys)
    assert head.split() == ["name", "what"]
    assert first.endswith(LONG)
    assert second.split() == ["b" * 60, "short"]


@pytest.mark.usefixtures("terminal")
def test_sentences_take_further_lines_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Every word is there."""
    print_table(("name", "what"), [("a", LONG)], wraps=[1])
    lines = printed(capsys)
    assert max(map(len, lines)) <= 40
    assert " ".join(" ".join(lines[1:]).split()) == f"a {LONG}"


@pytest.mark.usefixtures("terminal")
def test_a_narrow_terminal_has_fewer_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """Those that are named for it, whole."""
    print_table(("task", "more", "loss"), [("t" * 30, "m" * 30, "1")], narrow=[0, 2], right=[2])
    assert [line.split() for line in printed(capsys)] == [["task", "loss"], ["t" * 30, "1"]]


def test_what_would_steer_a_terminal_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    """In every cell; markup is text."""
    print_table(("[bold]task[/bold]",), [("\x1b[2J\n\u202e\x9b",)])
    assert [line.rstrip() for line in printed(capsys)] == ["[bold]task[/bold]", r"\x1b[2J\n\u202e\x9b"]
