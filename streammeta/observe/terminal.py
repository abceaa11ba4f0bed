"""A live view of the status for a person at a terminal, 80 columns wide.

Drawn four times a second by a thread of its own. The terminal is given back as it was, also after an error.
Log lines that go to `sys.stderr` meanwhile appear above the view.
"""

from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from streammeta.observe.catalogue import PHASE_TITLES, PHASES
from streammeta.observe.snapshot import Checkpoint, Loss, Snapshot
from streammeta.observe.status import Status
from streammeta.wording import counted

STATE_STYLES = {"learning": "bold green", "disconnected": "bold red"}
HISTORY = 20
"""Width of a sparkline, one sample a second."""
BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 80
_BAR_WIDTH = 20


class TerminalView:
    """Context manager that shows `status` on `console` while the block runs.

    Where there is no room for all, sparklines and first values go; the names of the rows stay.

    Args:
        status: Where the numbers come from.
        console: A terminal; stderr, so that stdout carries data only.
        address: Where the HTTP port listens, as a URL; None when it does not.
    """

    def __init__(self, status: Status, console: Console, address: str | None = None) -> None:
        self._status = status
        self._address = address
        self._history: dict[str, deque[float]] = {phase: deque(maxlen=HISTORY) for phase in PHASES}
        self._sampled_at = -1.0
        self._console = console
        self._unicode = console.encoding.startswith("utf")
        self._live = Live(
            get_renderable=self.render, console=console, refresh_per_second=4, redirect_stdout=False
        )

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Draw the last state, which stays on the screen, and give the terminal back."""
        self._live.stop()

    def render(self) -> RenderableType:
        """What is shown now."""
        now = self._status.snapshot()
        self._sample(now)
        return Panel(
            Group(_headline(now), Text(), self._losses(now), Text(), self._details(now)),
            title=Text(f"streammeta · {now['algorithm']} · {now['topic']}"),
            title_align="left",
            subtitle=Text(now["state"], style=STATE_STYLES.get(now["state"], "bold yellow")),
            subtitle_align="right",
            width=_WIDTH,
        )

    def _sample(self, now: Snapshot) -> None:
        if now["uptime_seconds"] - self._sampled_at < 1.0:
            return
        self._sampled_at = now["uptime_seconds"]
        for phase, history in self._history.items():
            loss = now["losses"][phase]["now"]
            if loss is not None:
                history.append(loss)

    def _losses(self, now: Snapshot) -> Table:
        wide = self._console.width >= _WIDTH
        table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
        table.add_column("prequential loss", no_wrap=True, min_width=max(map(len, PHASE_TITLES.values())))
        for title in ("now", "first", "change") if wide else ("now", "change"):
            table.add_column(title, justify="right", width=9)
        if wide:
            table.add_column("", width=HISTORY, no_wrap=True)
        for phase in PHASES:
            loss = now["losses"][phase]
            bars = sparkline(list(self._history[phase])) if self._unicode else ""
            table.add_row(
                PHASE_TITLES[phase],
                _number(loss["now"]),
                *([_number(loss["first"])] if wide else []),
                self._change(loss),
                *([Text(bars, "cyan")] if wide else []),
            )
        return table

    def _change(self, loss: Loss) -> Text:
        now, first = loss["now"], loss["first"]
        if now is None or not first:
            return Text("")
        change = now / first - 1
        down, up = ("▼", "▲") if self._unicode else ("-", "+")
        return Text(f"{down if change < 0 else up} {abs(change):.0%}", "green" if change < 0 else "yellow")

    def _details(self, now: Snapshot) -> Table:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", no_wrap=True, min_width=len("dead letters"))
        table.add_column(overflow="ellipsis", no_wrap=True)
        tasks = now["tasks"]
        known = f"{tasks['stored']:,} stored, {tasks['cached']:,} in memory" if tasks else "-"
        table.add_row("tasks", known)
        for name, scores in _scores(now):
            table.add_row(name, scores)
        table.add_row("dead letters", Text(_dead_letters(now)))
        table.add_row("checkpoint", _checkpoint(now["checkpoint"]))
        share = now["replayed"]
        if share is not None and share < 1:
            table.add_row("replayed", _bar(share))
        if self._address is not None:
            table.add_row("page", Text(self._address))
        return table


def sparkline(values: list[float]) -> str:
    """One bar per value, between the smallest and the largest.

    >>> sparkline([3.0, 2.0, 1.0])
    '█▄▁'
    """
    if not values:
        return ""
    low, high = min(values), max(values)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[int((value - low) * scale)] for value in values)


def _bar(share: float) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_row(f"{share:4.0%}", ProgressBar(1.0, share, width=_BAR_WIDTH))
    return table


def _headline(now: Snapshot) -> Table:
    table = Table.grid(expand=True)
    for ratio in (2, 2, 3):
        table.add_column(ratio=ratio)
    count = len(now["lag"]["partitions"])
    partitions = counted(count, "partition")
    total = now["lag"]["total"]
    behind = "–" if total is None else f"{total:,}"
    table.add_row(
        Text.assemble((f"{now['events']:,}", "bold"), " events"),
        Text.assemble((f"{now['events_per_second']:,.1f}", "bold"), " events/s"),
        Text.assemble((behind, "bold"), f" behind, {partitions}"),
    )
    return table


def _scores(now: Snapshot) -> Iterator[tuple[str, str]]:
    """Accuracy and forgetting, where they are known."""
    known = {phase: each["now"] for phase, each in now["accuracies"].items() if each["now"] is not None}
    if known:
        yield "accuracy", ", ".join(f"{share:.3f} {phase}" for phase, share in known.items())
    forgetting = now["forgetting"]
    if forgetting["rise"] is not None:
        yield (
            "forgetting",
            f"{forgetting['rise']:+.3g}, to {_number(forgetting['loss_earlier'])} on earlier sets",
        )


def _dead_letters(now: Snapshot) -> str:
    """The total, and the most frequent reasons."""
    by_count = sorted(now["dead_letters"].items(), key=lambda item: -item[1])
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in by_count[:3] if count)
    return f"{now['outcomes']['dead_letter']:,}" + (f" ({reasons})" if reasons else "")


def _checkpoint(saved: Checkpoint | None) -> Text:
    if saved is None:
        return Text("none yet")
    if not saved["ok"]:
        return Text("failed", "bold red")
    age, kilobytes, milliseconds = saved["age_seconds"], saved["bytes"] / 1e3, saved["duration_seconds"] * 1e3
    return Text(f"{age:,.0f} s ago, {kilobytes:,.0f} kB in {milliseconds:,.0f} ms")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
