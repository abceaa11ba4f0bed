"""Help that can be followed: every verb has an example, and every example is a command that exists."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from streammeta.cli import main

ROOT = click.Context(main, **main.context_settings)
"""Under which a verb is parsed: a command keeps the names of its help option from the first time."""


def verbs(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands below, with the words that name them."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        assert below is not None
        yield from verbs(below, (*path, name))


VERBS = dict(verbs(main))
TREE = Path(__file__).parents[2]
PAGES = [TREE / "README.md", TREE / "deploy/README.md", *sorted((TREE / "streammeta").rglob("*.md"))]


def examples(command: click.Command) -> list[str]:
    """Those of its help."""
    lines = (command.help or "").splitlines()
    return [line.strip().removeprefix("Example: ") for line in lines if line.strip().startswith("Example: ")]


@pytest.mark.parametrize("path", VERBS, ids=" ".join)
def test_each_verb_has_an_example_that_it_takes(path: tuple[str, ...]) -> None:
    """Of one line, parsed by the verb itself: a renamed option would fail here."""
    found = examples(VERBS[path])
    assert found
    for example in found:
        words = shlex.split(example)
        assert words[: 1 + len(path)] == ["streammeta", *path]
        takes(path, words[1 + len(path) :])


def takes(path: tuple[str, ...], words: list[str]) -> None:
    """The verb has these options, and leaves nothing over."""
    given = words[: words.index(">")] if ">" in words else words
    parsed = VERBS[path].make_context(path[-1], [*given], parent=ROOT, resilient_parsing=True)
    options = {
        name for parameter in VERBS[path].params for name in (*parameter.opts, *parameter.secondary_opts)
    }
    assert {word.partition("=")[0] for word in given if word.startswith("--")} <= options
    assert not parsed.args


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TREE)))
def test_pages_show_commands_that_exist(page: Path) -> None:
    """Each command of a page is parsed by its verb: its words, its options, its arguments."""
    text = page.read_text().replace("\\\n", " ")
    for line in re.findall(r"^ {4}streammeta (.+)$", text, re.MULTILINE):
        words = re.sub(r"\[.*?\]", "", re.split(r" [|&;] ", line)[0])
        given = [word for word in shlex.split(words, comments=True) if word not in ("…", "...")]
        path = next((tuple(given[:n]) for n in (2, 1) if tuple(given[:n]) in VERBS), None)
        assert path is not None, line
        takes(path, given[len(path) :])


@pytest.mark.parametrize("path", VERBS, ids=" ".join)
def test_each_option_says_what_it_is(path: tuple[str, ...]) -> None:
    """A help text, or a choice with its default that says it all."""
    silent = [
        parameter.name
        for parameter in VERBS[path].params
        if isinstance(parameter, click.Option)
        and not parameter.hidden
        and not parameter.help
        and not isinstance(parameter.type, click.Choice)
    ]
    assert silent == []


@pytest.mark.parametrize("path", VERBS, ids=" ".join)
def test_output_is_a_file(path: tuple[str, ...]) -> None:
    """`--output` names what is written; how it is told is `--format`. The former use is hidden, and warns."""
    for parameter in VERBS[path].params:
        if isinstance(parameter, click.Option) and "--output" in parameter.opts and not parameter.hidden:
            assert isinstance(parameter.type, click.Path)
