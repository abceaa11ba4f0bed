"""The two meta pages of LMDB's data file, looked through before LMDB maps it.

Each commit writes one of them, in turn; a reader takes the later. So they are always of two commits in a row:
a damaged number would make an older commit win in silence. Little-endian, LMDB 0.9, 64 bits:

    meta  u64 number, u16 -, u16 flags, u32 -, u32 magic, u32 version, u64 -, u64 map size, tree of free
          pages, main tree, u64 last page, u64 transaction
    tree  u32 page size or 0, u16 flags, u16 depth, u64 branches, leaves, overflow pages, entries, root
"""

import os
import struct
from pathlib import Path
from typing import Final, NamedTuple

from streammeta.errors import StateError
from streammeta.state.rows import RESTORE

MAGIC: Final = 0xBEEFC0DE
TREE: Final = struct.Struct("<IHHQQQQQ")
_META = struct.Struct("<16xII16x")
_TAIL = struct.Struct("<QQ")
_META_BYTES = _META.size + 2 * TREE.size + _TAIL.size
_TRIES = 20
"""How often the meta pages are read before they count as contradicting: a writer may write them meanwhile."""


class Damage(Exception):
    """What is wrong, in words."""


class Foreign(Damage):
    """A sound file of something else."""


class Tree(NamedTuple):
    """A B-tree, as its parent describes it."""

    page_bytes: int
    flags: int
    depth: int
    branches: int
    leaves: int
    overflow: int
    entries: int
    root: int


class MetaPage(NamedTuple):
    """One of the two roots of the file."""

    free: Tree
    main: Tree
    last: int
    transaction: int


def damaged(path: Path, what: object) -> StateError:
    """The file is damaged, and so."""
    return StateError(f"state {path.parent}: {path.name} is damaged ({what}); {RESTORE}")


def check_metas(path: Path) -> None:
    """See that LMDB can open the file; one that is not LMDB's at all is left for it to refuse.

    Raises:
        StateError: a meta page is damaged, or the file is cut short.
    """
    try:
        metas = read_metas(path)
    except Damage as damage:
        raise damaged(path, damage) from None
    if metas:
        size_bytes, last = path.stat().st_size, max(metas, key=lambda meta: meta.transaction).last
        needed_bytes = (last + 1) * metas[0].free.page_bytes
        if size_bytes < needed_bytes:
            raise StateError(
                f"state {path.parent}: {path.name} is cut short ({size_bytes:,} bytes, at least "
                f"{needed_bytes:,} belong to it); {RESTORE}"
            )


def read_metas(path: Path) -> list[MetaPage]:
    """Both meta pages, none of a file that has not even one.

    Commits alternate between them: they are always the last and the one before it.
    """
    for left in reversed(range(_TRIES)):
        with path.open("rb") as file:
            begin = os.pread(file.fileno(), _META_BYTES, 0)
            if len(begin) < _META_BYTES or _META.unpack_from(begin)[0] != MAGIC:
                if not _second_is_meta(file.fileno()):
                    return []
                raise Damage("the first meta page is not one")
            page_bytes = TREE.unpack_from(begin, _META.size)[0]
            if page_bytes not in {1 << power for power in range(9, 17)}:
                raise Damage(f"pages of {page_bytes:,} bytes")
            pages = [begin, os.pread(file.fileno(), _META_BYTES, page_bytes)]
        try:
            return _agreeing(pages)
        except Damage:
            if not left:
                raise
    raise AssertionError("a last try returns or raises")


def _second_is_meta(file: int) -> bool:
    seconds = (os.pread(file, _META.size, 1 << power) for power in range(9, 17))
    return any(len(page) == _META.size and _META.unpack(page)[0] == MAGIC for page in seconds)


def _agreeing(pages: list[bytes]) -> list[MetaPage]:
    metas = []
    for number, page in enumerate(pages):
        if len(page) < _META_BYTES:
            raise Damage("it ends within the meta pages")
        magic, version = _META.unpack_from(page)
        own, _, flags = struct.unpack_from("<QHH", page)
        if (magic, version, own, flags) != (MAGIC, 1, number, 8):
            raise Damage(f"meta page {number} is not one")
        free, main = (Tree(*TREE.unpack_from(page, _META.size + n * TREE.size)) for n in (0, 1))
        metas.append(MetaPage(free, main, *_TAIL.unpack_from(page, _META.size + 2 * TREE.size)))
    first, second = metas
    shape = (first.free.page_bytes, first.free.flags, first.main.flags)
    if shape != (second.free.page_bytes, second.free.flags, second.main.flags) or first.main.flags:
        raise Damage("the meta pages contradict each other")
    numbers = [meta.transaction for meta in metas]
    new = numbers == [0, 0]
    if not new and (numbers[0] % 2 or numbers[1] % 2 != 1 or abs(numbers[0] - numbers[1]) != 1):
        raise Damage(f"its meta pages are of commits {numbers[0]:,} and {numbers[1]:,}")
    return metas
