"""`streammeta record`: a topic into a recording."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import click
import structlog
from rich.console import Console
from rich.live import Live
from rich.text import Text

from streammeta.cli.bounds import FROM, TO
from streammeta.cli.config_options import config_sources
from streammeta.cli.saying import say
from streammeta.config import load_config
from streammeta.programs import recorder
from streammeta.programs.recorder import Range, Recorded
from streammeta.recording.selection import Bound
from streammeta.wording import counted

EVERY_SECONDS = 10.0
"""Between two log lines, where no terminal shows the progress."""


@click.command()
@config_sources
@click.option(
    "--output",
    "directory",
    metavar="DIR",
    required=True,
    type=click.Path(path_type=Path),
    help="The recording.",
)
@FROM
@TO
@click.option("--until-end", is_flag=True, help="Stop at the end offsets seen at the start; exit 0.")
@click.option("--summary", type=click.Choice(["text", "json"]), default="text", show_default=True)
def record(
    path: Path | None,
    overrides: tuple[str, ...],
    directory: Path,
    begin: Bound | None,
    end: Bound | None,
    until_end: bool,
    summary: str,
) -> None:
    """Record a topic, bytes untouched, until Ctrl-C; started again it goes on where it was.

    --to ends it: at that offset of every partition, or when that time has passed and the topic was read up
    to its end.

    Example: streammeta record --config learner.toml --output recording --until-end
    """
    config = load_config(path, overrides)
    with _progress() as tell:
        last = recorder.record(config, directory, Range(begin, end), until_end=until_end, tell=tell)
    if summary == "json":
        say(json.dumps(asdict(last)))
    else:
        say(f"{directory}: {told(last)}")


def told(now: Recorded) -> str:
    """How far it came, in a line."""
    return (
        f"{counted(now.rows, 'record')}, {now.bytes / 1e6:,.1f} MB in {counted(now.parts, 'part')}; "
        f"{now.new_rows:,} new "
        f"({now.new_bytes / 1e6:,.1f} MB) in {now.seconds:,.1f} s, {now.rows_per_second:,.0f} records/s, "
        f"{now.lag:,} behind"
    )


@contextmanager
def _progress() -> Iterator[Callable[[Recorded], None]]:
    """A line that is drawn again on a terminal; log lines elsewhere."""
    console = Console(stderr=True)
    if console.is_terminal:
        with Live(console=console, refresh_per_second=4, transient=True) as live:
            yield lambda now: live.update(Text(told(now), no_wrap=True, overflow="ellipsis"))
        return
    told_at = [0.0]

    def tell(now: Recorded) -> None:
        if now.seconds - told_at[0] >= EVERY_SECONDS:
            told_at[0] = now.seconds
            structlog.get_logger().info(
                "recording", **asdict(now), rows_per_second=round(now.rows_per_second, 1)
            )

    yield tell
