"""`streammeta doctor`: what of a configuration fits, and what does not."""

import json
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

from streammeta.cli.config_options import state_sources
from streammeta.cli.formats import FORMAT
from streammeta.cli.saying import say
from streammeta.config import load_config
from streammeta.errors import ConfigError
from streammeta.observe.logs import configure_logging
from streammeta.programs.doctor.check import Check, exit_code, fault, ok

_NO_LIMIT: Final = 100_000
_LEAST: Final = 40
"""Columns that words get, however narrow the terminal."""
_MARKS: Final = {"ok": "ok", "warning": "warning", "fault": "FAULT"}
_INDENT: Final = " " * 23


@click.command()
@state_sources
@click.option(
    "--records",
    "count",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="How many of the newest records are read.",
)
@FORMAT
def doctor(path: Path | None, overrides: tuple[str, ...], count: int, form: str) -> None:
    """Say what fits and what does not, before the daemon runs or while it does. Changes nothing.

    Builds the model, asks the broker, reads the newest records, learns from them on a copy.
    Exit code: 0 when all fits, else that of the first fault: 78 configuration, model or records, 77 refused
    by the broker, 69 broker or topic not there, 65 state.

    Example: streammeta doctor --config learner.toml
    """
    made = list[Check]()
    for check in _checks(path, overrides, count):
        made.append(check)
        if form == "table":
            say(told(check, _width()))
    code = exit_code(made)
    if form == "json":
        say(json.dumps({"exit_code": code, "checks": [asdict(check) for check in made]}))
    else:
        say(_summary(made))
    click.get_current_context().exit(code)


def _checks(path: Path | None, overrides: tuple[str, ...], count: int) -> Iterator[Check]:
    try:
        config = load_config(path, overrides)
    except ConfigError as error:
        yield fault("configuration", error)
        return
    configure_logging("error", config.log.format)
    yield ok("configuration", f"{path or 'no file, defaults'}: every setting is known and in its bounds")
    # Imported here: a wrong setting is told before torch is loaded.
    from streammeta.programs.doctor.examination import examine

    yield from examine(config, count)


def _width() -> int:
    """Columns of a terminal; a pipe takes lines of any length."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _NO_LIMIT


def told(check: Check, columns: int) -> str:
    """The check as lines of at most so many columns; a command is never broken."""
    remedy = check.remedy.replace("\n", "\n→ ")
    text = check.words + (f"\n→ {remedy}" if remedy else "")
    lines = re.sub(r": (kafka-\w+ --)", r":\n\1", text).splitlines()
    wrapped = [part for line in lines for part in _wrapped(line, max(_LEAST, columns - len(_INDENT)))]
    return f"{_MARKS[check.verdict]:8}{check.name:15}" + f"\n{_INDENT}".join(wrapped)


def _wrapped(line: str, columns: int) -> list[str]:
    if line.startswith("kafka-"):
        return [line]
    indent = re.match(r"(→ )?\s*", line)
    hanging = " " * len(indent[0]) if indent is not None else ""
    return textwrap.wrap(
        line, columns, subsequent_indent=hanging, break_on_hyphens=False, break_long_words=False
    )


def _summary(made: list[Check]) -> str:
    counts = [(sum(check.verdict == kind for check in made), kind) for kind in ("fault", "warning")]
    parts = [f"{count} {kind}{'s' if count > 1 else ''}" for count, kind in counts if count]
    return ", ".join(parts) or "all fits"
