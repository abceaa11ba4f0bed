"""What a notebook shows of a learner: a frame of its history, its curves, a few facts, progress."""

import html
import io
import math
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from streammeta.errors import StreammetaError
from streammeta.observe.history import Curve, History

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

T = TypeVar("T")


def curve_of(history: History) -> Curve:
    """The track over events, up to the last one."""
    history.settle()
    return history.view().events


def frame_of(history: History) -> "pd.DataFrame":
    """The curves of the whole life by the number of events, the last 600 events each in a row of its own.

    Raises:
        StreammetaError: pandas is missing; names the remedy.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise StreammetaError("history() needs pandas: pip install 'streammeta[notebook]'") from error
    curve = curve_of(history)
    frame = pd.DataFrame(curve.merged(), columns=[*curve.columns])
    frame["time"] = pd.to_datetime(frame.pop("seconds"), unit="s", utc=True)
    return frame.astype({"events": "int64"}).set_index("events")


def picture_of(history: History, loss: str) -> "Figure":
    """The prequential losses against events; `loss` is what they are.

    Raises:
        ConfigError: matplotlib is missing; names the remedy.
    """
    from streammeta.report.picture import losses_picture

    figure = losses_picture(curve_of(history), loss)
    # Notebooks draw the figures that pyplot made, and ask others to draw themselves.
    vars(figure)["_repr_png_"] = partial(_png, figure)
    return figure


def _png(figure: "Figure") -> bytes:
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    return drawn.getvalue()


def html_of(facts: dict[str, object]) -> str:
    """The facts as a small table."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{html.escape(name)}</th><td>{html.escape(_text(value))}</td></tr>"
        for name, value in facts.items()
    )
    return f"<table>{rows}</table>"


def progressing(events: Iterable[T], told: str, *, shown: bool | None) -> Iterator[T]:
    """The events, with a bar while they are taken; `shown` None: on a terminal or in a notebook."""
    from rich.console import Console
    from rich.progress import track

    console = Console(file=None if "ipykernel" in sys.modules else sys.stderr)
    visible = (console.is_terminal or console.is_jupyter) if shown is None else shown
    yield from track(events, told, console=console, transient=False) if visible else events


def _text(value: object) -> str:
    if isinstance(value, float | np.floating):
        return "unknown" if math.isnan(value) else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
