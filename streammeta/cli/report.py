"""`streammeta report`: a run as one file, for sharing."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from streammeta.cli.saying import say
from streammeta.cli.state import opened
from streammeta.errors import StateError
from streammeta.report.page import report_page
from streammeta.report.picture import comparison_picture, report_picture
from streammeta.report.run import Run, read_run


@click.command()
@click.argument("directories", metavar="STATE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--output",
    metavar="F.html",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="One self-contained page; F.png: one picture (extra `plot`).",
)
def report(directories: tuple[Path, ...], output: Path) -> None:
    r"""Write a run as one page or picture: curves, tasks, settings, environment; also while it is learned.

    Of more than one, the losses are drawn over one another; the rest of the page is of the first.

    Example: streammeta report state --output run.html

    Example: streammeta report before after --output both.html
    """
    suffix = output.suffix.lower()
    if suffix not in (".html", ".png"):
        raise click.UsageError(f"--output {output}: name a file that ends in .html or .png")
    run, *others = _told_apart([_read(directory) for directory in directories], directories)
    try:
        if suffix == ".html":
            output.write_text(report_page(run, datetime.now(UTC), others), encoding="utf-8")
        elif others:
            comparison_picture([run, *others], output)
        else:
            report_picture(run, output)
    except OSError as error:
        raise click.UsageError(f"--output {output}: {error.strerror}") from error
    told = "; ".join(map(_told, (run, *others)))
    say(f"{output}: {told}, {output.stat().st_size / 1e3:,.0f} kB", err=True)


def _told(run: Run) -> str:
    return f"{run.checkpoint.progress.events:,} events, {run.known:,} tasks"


def _told_apart(runs: list[Run], directories: Sequence[Path]) -> list[Run]:
    """With the paths as names where directories are called alike."""
    if len({run.name for run in runs}) == len(runs):
        return runs
    return [
        replace(run, name=f"{number}: {path}")
        for number, (run, path) in enumerate(zip(runs, directories, strict=True), 1)
    ]


def _read(directory: Path) -> Run:
    if (directory / "manifest.json").exists():
        raise StateError(
            f"{directory} is a recording, which holds records and no curves: replay it "
            "(streammeta replay), then report the state.dir that the replay wrote"
        )
    with opened(directory) as (snapshot, checkpoint):
        meta = snapshot.load()
        history = meta.history if meta is not None else b""
        try:
            return read_run(directory.resolve().name, checkpoint, history, snapshot.stats(), snapshot.count())
        except ValueError as error:
            raise StateError(f"{directory}: its curves cannot be read: {error}") from error
