"""The history as bytes and back: safetensors, with the notes of the run (settings, versions) as JSON.

It is stored beside the checkpoint, in the same commit. Losing it would lose curves, not learning; so what
cannot be read is told, and begun anew.
"""

import json
from typing import Any, Final, NamedTuple

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from streammeta.observe.history import Curve, History, Kept, View
from streammeta.observe.marks import Marks

FORMAT: Final = 1
_WIDE: Final = 2
"""Columns of each track that need 64 bits: events and seconds, its first two in the file."""


class Stored(NamedTuple):
    """What a file held.

    Attributes:
        events, time: The tracks.
        marks: What happened at one moment, as `Marks.plain` says it.
        notes: What was written beside them.
    """

    events: Kept
    time: Kept
    notes: dict[str, Any]
    marks: list[list[Any]]

    def view(self) -> View:
        """As a reader of a running daemon sees it."""
        events, time = (Curve(*kept, np.empty((0, len(kept.columns)))) for kept in (self.events, self.time))
        marks = Marks()
        marks.resume(self.marks, 0)
        return View(0, events, time, marks.all())


def pack(history: History, notes: dict[str, Any]) -> bytes:
    """All that was folded so far, as bytes: at most 140 kB, in half a millisecond."""
    history.settle()
    seen = history.view()
    arrays = {
        f"{name}/{part}": array
        for name, curve in (("events", seen.events), ("time", seen.time))
        for part, array in _arrays(curve).items()
    }
    columns = {"events": seen.events.columns, "time": seen.time.columns}
    header = {"format": FORMAT, "columns": columns, "notes": notes, "marks": history.marks.plain()}
    return safetensors.numpy.save(arrays, metadata={"streammeta": json.dumps(header)})


def unpack(data: bytes) -> Stored:
    """The inverse of `pack`.

    Raises:
        ValueError: written by another version, or damaged.
    """
    try:
        length = int.from_bytes(data[:8], "little")
        header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["streammeta"])
        written = header["format"]
        if written == FORMAT:
            arrays = safetensors.numpy.load(data)
            events, time = (_kept(arrays, name, header["columns"][name]) for name in ("events", "time"))
            return Stored(events, time, header["notes"], list(header.get("marks", ())))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, SafetensorError) as error:
        raise ValueError(f"damaged ({error!r})") from error
    raise ValueError(f"format {written}, this version reads format {FORMAT}")


def _arrays(curve: Curve) -> dict[str, NDArray[Any]]:
    with np.errstate(over="ignore"):
        narrow = curve.buckets[:, _WIDE:].astype(np.float32)
    return {
        "wide": np.ascontiguousarray(curve.buckets[:, :_WIDE]),
        "narrow": narrow,
        "weights": curve.weights,
        "width": np.array([curve.width]),
    }


def _kept(arrays: dict[str, NDArray[Any]], name: str, columns: list[str]) -> Kept:
    narrow = arrays[f"{name}/narrow"].astype(np.float64)
    narrow[~np.isfinite(narrow)] = np.nan
    buckets = np.concatenate([arrays[f"{name}/wide"], narrow], axis=1)
    weights = arrays[f"{name}/weights"]
    if buckets.shape != (len(weights), len(columns)):
        raise ValueError(f"{name}: {buckets.shape} numbers under {len(columns)} names")
    return Kept(tuple(columns), buckets, weights, int(arrays[f"{name}/width"][0]))
