"""The daemon's flight recorder: what the state contains is in the recording, and after a restart no more.

Rows are put on the disk before the commit whose document says how many of them the state contains. A crash
between the two leaves rows too many, which the next start takes away; they are learned, and kept, again.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from streammeta.errors import RecordingError
from streammeta.events import Conditions, Positions, Record
from streammeta.recording.writer import PART_BYTES, Writer
from streammeta.state.checkpoint import Checkpoint, RecordingMark


class FlightRecorder:
    """A `Tape` that writes. Its parts hold only what a state contains, also while a commit is under way."""

    def __init__(
        self, directory: Path, topic: str, begun: Checkpoint, *, part_bytes: int = PART_BYTES
    ) -> None:
        """Go on where the state stands.

        Raises:
            RecordingError: the recording is damaged, or belongs to another state.
            StateLocked: another process writes to it.
        """
        self._writer = Writer(directory, "learned", topic, part_bytes=part_bytes)
        try:
            self._learner = begun.origin.config_hash
            self._go_on(begun.recording)
        except BaseException:
            self._writer.abandon()
            raise

    def _go_on(self, mark: RecordingMark | None) -> None:
        writer = self._writer
        if mark is not None and mark.id == writer.manifest.id:
            if mark.replayed and mark.rows != writer.rows:
                raise RecordingError(
                    f"the state was replayed up to row {mark.rows} of the {writer.rows} rows of recording "
                    f"{writer.directory}: replay it to its end first, or record into a new directory"
                )
            writer.truncate(mark.rows)
        elif writer.rows:
            raise RecordingError(
                f"the recording in {writer.directory} was not made with this state; "
                "record into a new directory"
            )
        self._committed = writer.rows
        self._later: list[Callable[[], None]] | None = None

    def keep(self, records: Sequence[Record]) -> None:
        """As `Tape.keep`; what comes while a commit is under way is written when that has ended."""
        self._do(partial(self._writer.append, records))

    def cut(self) -> None:
        """As `Tape.cut`."""
        self._do(self._writer.cut)

    def serve(self, compiled: Mapping[str, Conditions]) -> None:
        """As `Tape.serve`."""
        self._do(partial(self._writer.serve, compiled))

    def _do(self, note: Callable[[], None]) -> None:
        if self._later is None:
            note()
        else:
            self._later.append(note)

    def sync(self, positions: Positions, topic_id: str) -> RecordingMark:
        """As `Tape.sync`."""
        self._writer.begin(positions, topic_id, self._learner)
        self._later = []
        return RecordingMark(self._writer.manifest.id, self._writer.sync())

    def committed(self) -> None:
        """As `Tape.committed`; parts hold only what a state contains."""
        self._committed = self._writer.rows
        self._writer.roll_if_large()
        later, self._later = self._later or (), None
        for note in later:
            note()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Make a part of what the last commit contains; after an error leave that to the next start."""
        try:
            if kind is None:
                self._writer.truncate(self._committed)
                self._writer.roll()
        finally:
            self._writer.abandon()
