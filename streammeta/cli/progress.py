"""How far a verb is that takes a while."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

EVERY_SECONDS = 10.0
"""Between two log lines, where no terminal shows the progress."""


@contextmanager
def progress_of(title: str) -> Iterator[Callable[[float], None]]:
    """A bar on a terminal; log lines elsewhere."""
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            bar = progress.add_task(title, total=1.0)
            yield lambda share: progress.update(bar, completed=share)
        return
    told_at = [time.monotonic()]

    def tell(share: float) -> None:
        if time.monotonic() - told_at[0] >= EVERY_SECONDS:
            told_at[0] = time.monotonic()
            structlog.get_logger().info("replaying", what=title, share=round(share, 4))

    yield tell
