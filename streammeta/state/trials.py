"""What is being tried right now, in a file that a killed process leaves behind.

    file  = 16 bytes of magic, i64 count, i64 suspects, i64 watched, places
    place = i64 stage (0 decode, 1 step) << 32 | partition, i64 offset

The first `count` places are being tried, the `suspects` behind them were when the process before died, and
`watched` processes tried them while another watched. The file is mapped into memory: a mark costs no system
call, and the kernel keeps it when the process is killed. It is not synced: a power cut is no fault of a
record.

Invariant: what was tried when two processes in a row died is condemned, and nothing else; by one that is
watched, nothing is.
"""

import mmap
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from streammeta.errors import StateError
from streammeta.events import Passed, Record

MAGIC: Final = b"streammeta tried"
PLACES: Final = 1024
"""Most records that are remembered as tried together; the rest of such an iteration goes free."""
WATCHES: Final = 3
"""Most processes that try the same while another watches: where the kernel ends both, nobody sees it."""
_HEAD = len(MAGIC) // 8
_COUNT, _SUSPECTS, _WATCHED, _FIRST = range(_HEAD, _HEAD + 4)
_BYTES = 8 * (_FIRST + 4 * PLACES)
_STEP = 1 << 32
_Place = tuple[int, int]


def watches_left(path: Path) -> int:
    """How often what two processes died of may yet be tried while another watches; 0: nothing is to be."""
    try:
        marks = path.read_bytes()[:_BYTES]
    except OSError:
        return 0
    if len(marks) < _BYTES or not marks.startswith(MAGIC):
        return 0
    view = memoryview(marks).cast("q")
    return WATCHES - _watched(view) if _twice(view) else 0


class Trials:
    """The marks of this process, and what those of the processes before it tell."""

    def __init__(self, path: Path, *, acquitted: Callable[[], None] | None = None) -> None:
        """Read what was left, and begin with no mark. A file that is none of ours is begun anew.

        Args:
            path: The file.
            acquitted: Of a process that another watches: told when all that two died of went well. It
                condemns nothing.

        Raises:
            StateError: the file cannot be opened.
        """
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(file, 0, _BYTES)  # else a full disk would be a bus error
                self._map = mmap.mmap(file, _BYTES)
            finally:
                os.close(file)
        except OSError as error:
            raise StateError(
                f"{path}: {error.strerror}; make room on the disk, or see that this user may write there"
            ) from error
        self._view = memoryview(self._map).cast("q")
        if self._map[: len(MAGIC)] != MAGIC:
            self._map[:] = MAGIC + bytes(_BYTES - len(MAGIC))
        twice, self._acquitted = _twice(self._view), acquitted
        self.condemned: tuple[Passed, ...] = () if acquitted else tuple(map(_passed, twice))
        """What is to be passed; the caller logs that before it calls `begin_life`, or calls `forget`."""
        left = _left(self._view, _COUNT, 0) or _left(self._view, _SUSPECTS, PLACES)
        self._suspects = twice if acquitted else left
        self._begun = False

    def begin_life(self) -> None:
        """Nothing is tried yet; what was tried when the process before died is suspect."""
        self._suspects = [place for place in self._suspects if _passed(place) not in self.condemned]
        self._write_suspects()
        self._view[_COUNT] = 0
        self._view[_WATCHED] = _watched(self._view) + 1 if self._acquitted else 0
        self._begun = True

    def forget(self) -> None:
        """What was tried was of another log: nothing is condemned, or suspect."""
        self.condemned = ()
        self._view[_COUNT] = 0
        self._suspect([])

    @property
    def suspicious(self) -> bool:
        """Whether anything is suspect."""
        return len(self._suspects) > 0

    def suspects(self, records: Iterable[Record]) -> bool:
        """Whether one of these is."""
        return bool(self._suspects) and any(
            (_STEP | record.partition, record.offset) in self._suspects for record in records
        )

    def decoding(self, record: Record) -> None:
        """The record is decoded next."""
        view = self._view
        view[_FIRST] = record.partition
        view[_FIRST + 1] = record.offset
        view[_COUNT] = 1

    def learning(self, records: Sequence[Record]) -> None:
        """These are learned next, together."""
        view, at = self._view, _FIRST
        if len(records) == 1:
            (record,) = records
            view[_FIRST] = _STEP | record.partition
            view[_FIRST + 1] = record.offset
            view[_COUNT] = 1
            return
        view[_COUNT] = 0
        for record in records[:PLACES]:
            view[at], view[at + 1] = _STEP | record.partition, record.offset
            at += 2
        view[_COUNT] = len(records[:PLACES])

    def over(self) -> None:
        """Nothing is tried; suspects that were, and passed the trial, are suspect no more."""
        if self._suspects:
            reached = dict[int, int]()
            for place, offset in _left(self._view, _COUNT, 0):
                reached[place] = max(offset, reached.get(place, offset))
            self._suspect([one for one in self._suspects if not _behind(one, reached)])
        self._view[_COUNT] = 0

    def _suspect(self, suspects: list[_Place]) -> None:
        if suspects != self._suspects:
            self._suspects = suspects
            self._write_suspects()
            if not suspects and self._acquitted:
                self._acquitted()

    def _write_suspects(self) -> None:
        view, at = self._view, _FIRST + 2 * PLACES
        view[_SUSPECTS] = 0
        for place, offset in self._suspects:
            view[at], view[at + 1] = place, offset
            at += 2
        view[_SUSPECTS] = len(self._suspects)

    def close(self) -> None:
        """Let go of the file, with no mark of this life in it. May be called twice.

        Before `begin_life` the marks are those of the process that died: they stay for the next one.
        """
        if not self._map.closed:
            if self._begun:
                self._view[_COUNT] = 0
            self._view.release()
            self._map.close()


def _left(view: memoryview, counter: int, first: int) -> list[_Place]:
    count = view[counter]
    if not 0 <= count <= PLACES:
        return []
    begin = _FIRST + 2 * first
    return [(view[begin + 2 * n], view[begin + 2 * n + 1]) for n in range(count)]


def _watched(view: memoryview) -> int:
    return min(max(0, view[_WATCHED]), WATCHES)


def _twice(view: memoryview) -> list[_Place]:
    """What was tried when the last process died, and when the one before did."""
    suspects = _left(view, _SUSPECTS, PLACES)
    return [place for place in dict.fromkeys(_left(view, _COUNT, 0)) if place in suspects]


def _behind(suspect: _Place, reached: dict[int, int]) -> bool:
    """Whether it was tried: records of a partition are in order, and are decoded before they are learned."""
    place, offset = suspect
    return offset <= max(reached.get(place, -1), reached.get(place | _STEP, -1))


def _passed(place: _Place) -> Passed:
    kind, offset = place
    return Passed(kind & (_STEP - 1), offset, stage="step" if kind & _STEP else "decode", died=True)
