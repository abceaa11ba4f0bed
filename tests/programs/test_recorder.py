"""The recorder over a scripted topic: any kill, any redelivery, each record once and in order; ranges."""

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streammeta.clock import Clock
from streammeta.events import Record
from streammeta.programs.recorder import Range, Recorded, Recorder
from streammeta.recording.reader import Recording
from streammeta.recording.selection import Bound
from streammeta.recording.writer import Writer
from tests.recording.kills import killed_at_a_system_call
from tests.recording.samples import TOPIC, read
from tests.scripted import Fuse, ScriptedSource, make_script

SCRIPT = make_script(1, partitions=3, tasks=6, events=80)
PART_BYTES = 3000


@dataclass
class Tape:
    """A recorder's lives over one directory; each tick of the clock is half a second."""

    directory: Path
    script: list[Record]
    seconds: float = field(default=0.0)

    def live(
        self,
        wanted: Range = Range(),  # noqa: B008 (frozen)
        *,
        fuse: Fuse | None = None,
        batch: Callable[[], int] = lambda: 7,
        redeliver: Callable[[], int] = lambda: 0,
        until_end: bool = True,
        topic_id: str = "",
    ) -> Recorded:
        """One life, up to the end of the script; when killed, nothing is closed in good order."""
        source = ScriptedSource(self.script, batch, redeliver, fuse or Fuse(), topic_id=topic_id)
        writer = Writer(self.directory, "topic", TOPIC, part_bytes=PART_BYTES)
        try:
            recorder = Recorder(source, writer, wanted, Clock(self._tick, lambda: 0.05))
            return recorder.run({}, lambda: True, until_end=until_end)
        finally:
            writer.abandon()

    def _tick(self) -> float:
        self.seconds += 0.5
        return self.seconds


@given(data=st.data())
@settings(max_examples=50, deadline=None)
def test_killed_anywhere_it_goes_on_without_gap_or_duplicate(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Between any two polls and at any system call, with records delivered again: each once, in order."""
    fuses = data.draw(st.lists(st.integers(1, 60), max_size=6), label="kills")
    draws = random.Random(data.draw(st.integers(0, 2**32), label="batches"))
    tape = Tape(tmp_path_factory.mktemp("recorded") / "recording", SCRIPT)
    for length in fuses:
        fuse = Fuse(length)
        with killed_at_a_system_call(fuse):
            tape.live(fuse=fuse, batch=lambda: draws.randint(1, 9), redeliver=lambda: draws.randint(0, 4))
    last = tape.live(batch=lambda: draws.randint(1, 9), redeliver=lambda: draws.randint(0, 4))
    assert read(tape.directory) == SCRIPT
    assert (last.rows, last.lag) == (len(SCRIPT), 0)


def test_a_range_is_recorded_and_ends_the_recorder(tmp_path: Path) -> None:
    """An offset of every partition, or a time that has passed; the counts are those of the rows."""
    by_offset = Tape(tmp_path / "offsets", SCRIPT)
    told = by_offset.live(Range(Bound("offset", 5), Bound("offset", 20)), until_end=False)
    assert read(by_offset.directory) == [record for record in SCRIPT if 5 <= record.offset < 20]
    assert told.new_rows == told.rows == len(read(by_offset.directory))
    by_time = Tape(tmp_path / "times", SCRIPT)
    by_time.live(Range(Bound("time", 10), Bound("time", 50)), until_end=False)  # it is 50 ms since 1970
    assert read(by_time.directory) == SCRIPT[10:50]


def test_a_topic_made_anew_is_recorded_on(tmp_path: Path) -> None:
    """Where the configuration lets the source go on, the recording does, and knows that offsets went back."""
    tape = Tape(tmp_path / "recording", SCRIPT)
    tape.live(topic_id="a")
    after = make_script(2, partitions=3, tasks=6, events=20)
    tape.script = after
    tape.live(topic_id="b")
    assert read(tape.directory) == [*SCRIPT, *after]
    recording = Recording(tape.directory)
    assert (recording.manifest.topic_id, recording.rewinds) == ("b", 3)


def test_nothing_is_lost_when_the_source_gives_up(tmp_path: Path) -> None:
    """What was polled before an error is in the recording of the next life."""
    tape = Tape(tmp_path / "recording", SCRIPT)

    def fail() -> int:
        raise OSError("gone")

    with suppress(OSError):
        tape.live(batch=fail)
    tape.live()
    assert read(tape.directory) == SCRIPT
