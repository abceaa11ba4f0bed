"""`streammeta replay --dry-run`: what would be replayed."""

import json
import math

from streammeta.cli.saying import say
from streammeta.quoting import quoted_line
from streammeta.recording.reader import Recording
from streammeta.recording.selection import Selection
from streammeta.recording.times import Pace, known, time_text


def tell_plan(recording: Recording, selection: Selection, speed: float, form: str) -> None:
    """What a replay would read; every needed part is checked whole."""
    recording.check(selection, whole=True)
    counts: dict[int, int] = {}
    first_ms, last_ms, untimed = math.inf, -math.inf, 0
    pace, stream_ms = Pace(), 0
    for chunk in recording.chunks(0, selection):
        if chunk.rows:
            partitions, times = chunk.batch.column(0).to_numpy(), chunk.batch.column(2).to_numpy()
            for partition in partitions.tolist():
                counts[partition] = counts.get(partition, 0) + 1
            timed = times[known(times)]
            untimed += len(times) - len(timed)
            stream_ms = pace.follow(times)
            if len(timed):
                first_ms, last_ms = min(first_ms, timed.min()), max(last_ms, timed.max())
    total = sum(counts.values())
    plan = {
        "recording": str(recording.directory),
        "kind": recording.manifest.kind,
        "topic": recording.manifest.topic,
        "records": total,
        "of": recording.rows,
        "partitions": dict(sorted(counts.items())),
        "parts": len(recording.parts(selection)),
        "first": time_text(first_ms),
        "last": time_text(last_ms),
        "untimed": untimed,
        "jumps": pace.jumps,
        "seconds": stream_ms / 1000 / speed,
    }
    if form == "json":
        say(json.dumps(plan))
        return
    for name, value in plan.items():
        say(f"{name:11} {quoted_line(str(value)) if value is not None else '-'}")
