"""`streammeta replay --to-kafka`: a recording onto a topic."""

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING

from streammeta.cli.progress import progress_of
from streammeta.cli.saying import say
from streammeta.clock import Clock
from streammeta.config import Config
from streammeta.observe.logs import configure_logging
from streammeta.recording.reader import Recording
from streammeta.recording.selection import Selection
from streammeta.recording.times import LONGEST_STEP_MS, Timing
from streammeta.runtime.controls import Controls
from streammeta.runtime.signals import signals_to
from streammeta.wording import counted

if TYPE_CHECKING:
    from streammeta.sending.replayer import PutBack


def put_back(
    config: Config,
    recording: Recording,
    selection: Selection,
    topic: str,
    speed: float,
    again: bool,
    form: str,
) -> None:
    """Put the records on the topic, and say how many."""
    # Imported here, so that learning from a recording does not wait for kafka-python's producer.
    from streammeta.sending.replayer import Replayer, prepare, sender_of
    from streammeta.sending.transactions import Target

    configure_logging(config.log.level, config.log.format)
    recording.check(selection)
    controls, clock = Controls(), Clock()

    def keep_going() -> bool:
        return not controls.stop

    target = Target(config.kafka, topic, sender_of(recording, selection, topic))
    with signals_to(controls), progress_of(f"to {topic}") as tell:
        prepare(target, recording, keep_going, clock)
        timing = Timing(None if math.isinf(speed) else speed, clock.monotonic)
        replayer = Replayer(target, timing, keep_going, clock)
        last = replayer.run(
            recording, selection, again=again, tell=lambda now: tell(now.next_row / max(1, recording.rows))
        )
    if form == "json":
        say(json.dumps(asdict(last)))
        return
    _tell_odd(last, timing)
    rest = "" if last.done else "; the same command goes on"
    nothing = " (all were there; --again puts them there once more)" if last.done and not last.sent else ""
    say(
        f"{counted(last.sent, 'record')} ({last.bytes / 1e6:,.1f} MB) to {topic} in {last.seconds:,.1f} s"
        f"{nothing}{rest}"
    )


def _tell_odd(last: "PutBack", timing: Timing) -> None:
    """What the records did not have: times that can be followed, or their content."""
    if timing.pace.jumps:
        say(
            f"time jumps {timing.pace.jumps:,} times by more than {LONGEST_STEP_MS // 86_400_000} days; "
            "these steps were not waited for",
            err=True,
        )
    if last.left_out:
        say(f"left out, recorded without their content: {counted(last.left_out, 'record')}", err=True)
