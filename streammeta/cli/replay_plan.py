"""`streammeta replay --dry-run`: what would be replayed."""

import json
import math
from datetime import UTC, datetime

from streammeta.cli.saying import say
from streammeta.quoting import quoted_line
from streammeta.recording.reader import Recording
from streammeta.recording.selection import Selection


def tell_plan(recording: Recording, selection: Selection, speed: float, output: str) -> None:
    """What a replay would read; every needed part is checked whole."""
    recording.check(selection, whole=True)
    counts: dict[int, int] = {}
    first_ms, last_ms = math.inf, -math.inf
    for chunk in recording.chunks(0, selection):
        if chunk.rows:
            partitions, times = chunk.batch.column(0).to_numpy(), chunk.batch.column(2).to_numpy()
            for partition in partitions.tolist():
                counts[partition] = counts.get(partition, 0) + 1
            first_ms, last_ms = min(first_ms, times.min()), max(last_ms, times.max())
    total = sum(counts.values())
    plan = {
        "recording": str(recording.directory),
        "kind": recording.manifest.kind,
        "topic": recording.manifest.topic,
        "records": total,
        "of": recording.rows,
        "partitions": dict(sorted(counts.items())),
        "parts": len(recording.parts(selection)),
        "first": _time(first_ms) if total else None,
        "last": _time(last_ms) if total else None,
        "seconds": (last_ms - first_ms) / 1000 / speed if total else 0.0,
    }
    if output == "json":
        say(json.dumps(plan))
        return
    for name, value in plan.items():
        say(f"{name:11} {quoted_line(str(value)) if value is not None else '-'}")


def _time(milliseconds: float) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")
