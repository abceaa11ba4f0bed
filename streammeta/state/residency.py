"""Give mapped file pages back: what LMDB has read stays in the page cache, not in this process's memory.

Pages of a mapped file count as resident memory of the process that touched them, for as long as the file is
mapped: with every task visited, the process would seem to hold the whole file. Where the system has no such
call, nothing happens.
"""

import ctypes
import mmap
import os
from pathlib import Path

_MAPS = Path("/proc/self/maps")


class MappedFile:
    """The mapping of one file in this process, which somebody else has made."""

    def __init__(self, path: Path) -> None:
        self._range = _find(str(path.resolve()))

    def release(self) -> None:
        """Drop this process's view of the pages; the next access maps them again. About 5 ms per GB.

        Loses no data: the mapping is shared and its pages belong to the file. To be called only while the
        mapping stands, since its addresses may serve for something else afterwards.
        """
        if self._range is not None:
            start, length_bytes = self._range
            ctypes.CDLL(None).madvise(
                ctypes.c_void_p(start), ctypes.c_size_t(length_bytes), ctypes.c_int(mmap.MADV_DONTNEED)
            )


def _find(path: str) -> tuple[int, int] | None:
    """Address and length in bytes of the mapping of `path`."""
    if not _MAPS.exists():
        return None
    for line in os.fsdecode(_MAPS.read_bytes()).splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and fields[5] == path:
            start, end = (int(address, 16) for address in fields[0].split("-"))
            return start, end - start
    return None
