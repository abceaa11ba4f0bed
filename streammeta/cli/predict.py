"""`streammeta predict`: a prediction per line, all of one commit of a state."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

import click
import msgspec

from streammeta.cli.model_options import CONFIG, TRUST, Asked, blueprint_for, config_for
from streammeta.cli.state_options import STATE
from streammeta.codec.writing import to_lists
from streammeta.distributed.homes import home_of
from streammeta.errors import NoAnswer
from streammeta.quoting import quoted_bytes
from streammeta.runtime.predicting import predictor_for
from streammeta.serving.asking import AT, At
from streammeta.serving.commits import Commits, CommitView
from streammeta.serving.predictor import Predictor
from streammeta.serving.wire import read_line
from streammeta.state.directory import StateDirectory
from streammeta.state.lmdb_store import LmdbStore
from streammeta.wording import counted

TOGETHER: Final = 256
"""Lines of a file that are answered at once."""


@click.command()
@STATE
@CONFIG
@TRUST
@click.option(
    "--task", metavar="ID", required=True, help="The task; one that is not known is answered at meta."
)
@click.option("--input", "lines", type=click.File("rb"), default="-", help="JSON lines; else standard input.")
@click.option("--at", type=click.Choice(AT), default="auto", show_default=True)
@click.pass_context
def predict(
    ctx: click.Context, directory: Path, path: Path | None, trust: bool, task: str, lines: BinaryIO, at: At
) -> None:
    """Answer each line {"x": T, "support"?: {"x": T, "y": T}} with {"y": T, "at": …}.

    A line that cannot be answered is answered with {"error": …, "field": …}; the exit code is then 1.

    Example: streammeta predict --state state --task customer-17 --input x.jsonl
    """
    asked = Asked(directory, path, trust)
    store = LmdbStore(StateDirectory(home_of(directory, task)).lmdb_path, readonly=True)
    try:
        with Commits(store).view() as view:
            network = blueprint_for(asked, view.checkpoint, view.snapshot.constants()).network
            predictor = predictor_for(config_for(asked, view.checkpoint), network)
            refused = _answer(view, predictor, lines, task, at)
    finally:
        store.close()
    if refused:
        click.echo(f"not answered: {counted(refused, 'line')}", err=True)
        ctx.exit(1)


def _answer(view: CommitView, predictor: Predictor, lines: BinaryIO, task: str, at: At) -> int:
    """Write an answer per line; how many were refused."""
    refused = 0
    for some in _some(lines):
        for row in _rows(view, predictor, [(line, task, at) for line in some]):
            refused += "error" in row
            click.echo(quoted_bytes(msgspec.json.encode(row)))
    return refused


def _some(lines: BinaryIO) -> Iterator[list[bytes]]:
    """Lines of a file together; those that a person or a program sends, one by one."""
    together = TOGETHER if lines.seekable() else 1
    filled = (line for line in lines if line.strip())
    while some := list(islice(filled, together)):
        yield some


def _rows(
    view: CommitView, predictor: Predictor, asked: list[tuple[bytes, str, At]]
) -> Iterable[dict[str, Any]]:
    try:
        asks = [read_line(*one) for one in asked]
        return [{"y": to_lists(answer.y), "at": answer.at} for answer in predictor.predict(view, asks)]
    except NoAnswer as refusal:
        if len(asked) == 1:
            return [{"error": str(refusal), "field": refusal.field, "reason": refusal.reason}]
        return [row for one in asked for row in _rows(view, predictor, [one])]
