"""`streammeta report`: a run as one file, for sharing."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from streammeta.cli.new_files import NewFile
from streammeta.cli.saying import say
from streammeta.cli.state_reading import opened
from streammeta.errors import StateError
from streammeta.report.page import report_page
from streammeta.report.picture import run_picture, runs_picture
from streammeta.report.run import Run, read_run
from streammeta.report.style import write
from streammeta.wording import counted


@click.command()
@click.argument("directories", metavar="STATE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--output",
    metavar="F.html",
    required=True,
    type=NewFile((".html", ".png", ".svg", ".pdf")),
    help="One self-contained page; F.png: one picture (extra `plot`).",
)
def report(directories: tuple[Path, ...], output: Path) -> None:
    r"""Write a run as one page or picture: curves, tasks, settings, environment; also while it is learned.

    Of more than one, the losses are drawn over one another; the rest of the page is of the first.

    Example: streammeta report state --output run.html

    Example: streammeta report before after --output both.html
    """
    run, *others = _told_apart([_read(directory) for directory in directories], directories)
    now = datetime.now(UTC)
    if output.suffix.lower() == ".html":
        _write(output, report_page(run, now, others))
    else:
        drawn = runs_picture([run, *others], now) if others else run_picture(run, now)
        write(drawn, output, "--output")
    told = "; ".join(map(_told, (run, *others)))
    say(f"{output}: {told}, {output.stat().st_size / 1e3:,.0f} kB", err=True)


def _write(path: Path, page: str) -> None:
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"--output {path}: {error.strerror}") from error


def _told(run: Run) -> str:
    return f"{counted(run.checkpoint.progress.events, 'event')}, {counted(run.known, 'task')}"


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
