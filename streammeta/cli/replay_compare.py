"""`streammeta replay --compare`: several configurations learn from one recording."""

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from streammeta import __version__
from streammeta.cli.progress import progress_of
from streammeta.cli.saying import say
from streammeta.cli.table import print_table
from streammeta.config import Config
from streammeta.observe.catalogue import PHASES
from streammeta.observe.logs import configure_logging
from streammeta.programs.comparison import Curve, compare
from streammeta.recording.reader import Recording
from streammeta.recording.selection import Selection
from streammeta.report.compared import compared_picture
from streammeta.report.style import require_matplotlib, span, write
from streammeta.runtime.controls import Controls
from streammeta.runtime.signals import signals_to
from streammeta.wording import counted

HEADINGS = {
    "configuration": "configuration",
    "algorithm": "algorithm",
    "events": "events",
    "refused": "refused",
    "loss_meta": "loss meta",
    "loss_adapted": "loss adapted",
    "loss_memory": "loss memory",
    "accuracy_meta": "accuracy meta",
    "accuracy_adapted": "accuracy adapted",
    "accuracy_memory": "accuracy memory",
    "forgetting": "forgetting",
    "events_per_second": "events/s",
}
"""Of the table, where a configuration has a value."""


def tell_compared(
    recording: Recording, selection: Selection, configs: dict[str, Config], plot: Path | None, form: str
) -> None:
    """Replay into each, and tell their losses beside one another."""
    if plot is not None:
        require_matplotlib("leave out --plot")
    configure_logging("warning", "console")
    controls = Controls()
    with signals_to(controls), progress_of("replaying") as tell:
        curves = list(compare(recording, selection, configs, controls, lambda _name, share: tell(share)))
    if plot is not None:
        write(compared_picture(curves, *_words(recording)), plot, "--plot")
    rows = [_row(curve) for curve in curves]
    if form == "json":
        say(json.dumps(rows))
        return
    shown = [name for name in HEADINGS if any(row[name] is not None for row in rows)]
    print_table(
        [HEADINGS[name] for name in shown],
        ([_cell(row[name]) for name in shown] for row in rows),
        right=range(2, len(shown)),
    )


def _words(recording: Recording) -> tuple[str, str]:
    """Of the picture: its title, and where its records are from."""
    times = recording.time_ms
    ends = (times.first, times.end) if times and times.first > 0 else ()  # 0: some or all are unknown
    recorded = f"recorded {span(end / 1000 for end in ends)} · " if ends else ""
    title = (
        f"{counted(recording.rows, 'record')} of {recording.manifest.topic}, learned by each configuration"
    )
    return title, f"{recorded}drawn {datetime.now(UTC):%Y-%m-%d} by streammeta {__version__}"


def _row(curve: Curve) -> dict[str, Any]:
    """Losses are means over all events, accuracies and forgetting fading means; all before learning."""
    last = curve.last
    scores = {
        **{f"loss_{phase}": mean for phase, mean in curve.means.items()},
        **{f"accuracy_{phase}": mean.mean for phase, mean in zip(PHASES, last.accuracies, strict=True)},
        "forgetting": last.forgetting.mean,
    }
    return {
        "configuration": curve.name,
        "algorithm": curve.algorithm,
        "events": curve.events,
        "refused": curve.refused,
        **{name: score if math.isfinite(score) else None for name, score in scores.items()},
        "events_per_second": curve.events / curve.seconds if curve.seconds else 0.0,
    }


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}"
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
