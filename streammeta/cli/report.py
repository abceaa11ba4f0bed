"""`streammeta report`: a run as one file, for sharing."""

from datetime import UTC, datetime
from pathlib import Path

import click

from streammeta.cli.saying import say
from streammeta.cli.state import opened
from streammeta.errors import StateError
from streammeta.report.page import report_page
from streammeta.report.picture import report_picture
from streammeta.report.run import Run, read_run


@click.command()
@click.argument("directory", metavar="STATE", type=click.Path(path_type=Path))
@click.option(
    "--output",
    metavar="F.html",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="One self-contained page; F.png: one picture (extra `plot`).",
)
def report(directory: Path, output: Path) -> None:
    """Write a run as one page or picture: curves, tasks, settings, environment; also while it is learned.

    Example: streammeta report state --output run.html
    """
    suffix = output.suffix.lower()
    if suffix not in (".html", ".png"):
        raise click.UsageError(f"--output {output}: name a file that ends in .html or .png")
    run = _read(directory)
    try:
        if suffix == ".html":
            output.write_text(report_page(run, datetime.now(UTC)), encoding="utf-8")
        else:
            report_picture(run, output)
    except OSError as error:
        raise click.UsageError(f"--output {output}: {error.strerror}") from error
    events = f"{run.checkpoint.progress.events:,} events"
    say(f"{output}: {events}, {run.known:,} tasks, {output.stat().st_size / 1e3:,.0f} kB", err=True)


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
