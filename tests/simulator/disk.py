"""A disk: files for the order log, values for the store; what was not synced may be lost, bits may flip.

A killed process loses nothing that it handed over. A power cut loses what was not synced: of an appended
file any part behind what it held when it was last synced; of a store the commit that did
not end. The store seals its values as the real one does, so that a flipped bit is met where it is read.
"""

import errno
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from streammeta.errors import StateError
from streammeta.state.checksums import sealed, unsealed
from streammeta.state.environment import IDS
from streammeta.state.order_log import HEADER
from streammeta.state.rows import checked_key, pack_stats, task_key, unpack_stats
from streammeta.state.store import Meta, TaskRow, TaskStats, Waiting
from tests.simulator.clock import Clock

Content = dict[tuple[str, bytes], bytes]
"""Sub-database and key -> sealed value."""


@dataclass
class Disk:
    """What outlives processes.

    Attributes:
        full_until: No room is left.
        content: The store's last commit.
        copy: A commit that was kept; None for none.
        files: The order log's, by name.
        unsynced: What a power cut would leave of the store; None for all of it.
        synced: How many bytes of each of them no power cut takes.
        reordered: A power cut, or damage, may have cost entries of the order log.
    """

    clock: Clock
    draws: random.Random
    full_until: float = -1.0
    content: Content = field(default_factory=dict)
    rows: dict[str, TaskRow] = field(default_factory=dict)
    copy: tuple[Content, dict[str, TaskRow]] | None = None
    files: dict[str, bytearray] = field(default_factory=dict)
    synced: dict[str, int] = field(default_factory=dict)
    reordered: bool = False
    unsynced: tuple[Content, dict[str, TaskRow]] | None = None
    _open: list[str] = field(default_factory=list)

    @property
    def full(self) -> bool:
        """Whether nothing more fits."""
        return self.clock.now < self.full_until

    def read(self, path: Path) -> bytes:
        """As `Files.read`."""
        return bytes(self.files.get(path.name, b""))

    def open(self, path: Path, *, anew: bool = False) -> int:
        """As `Files.open`."""
        self.clock.writing()
        if anew or path.name not in self.files:
            self.files[path.name] = bytearray()
            self.synced.pop(path.name, None)
        self._open.append(path.name)
        return len(self._open) - 1

    def write(self, file: int, content: bytes) -> int:
        """As `Files.write`; a part of it where the disk is full, or an error."""
        self.clock.writing()
        if self.full:
            content = content[: self.draws.randrange(len(content))]
            if not content:
                raise OSError(errno.ENOSPC, "No space left on device")
        self.files[self._open[file]] += content
        self.clock.writing()
        return len(content)

    def sync(self, file: int) -> None:
        """As `Files.sync`."""
        self.clock.writing()
        self.synced[self._open[file]] = len(self.files[self._open[file]])
        self.clock.writing()

    def truncate(self, file: int, size_bytes: int) -> None:
        """As `Files.truncate`."""
        self.clock.writing()
        del self.files[self._open[file]][size_bytes:]
        self.clock.writing()

    def rename(self, path: Path, onto: Path) -> None:
        """As `Files.rename`; the number of an open file stays with its content."""
        self.clock.writing()
        self.files[onto.name] = self.files.pop(path.name)
        self.synced[onto.name] = self.synced.pop(path.name, 0)
        self._open = [onto.name if name == path.name else name for name in self._open]
        self.clock.writing()

    def close(self, file: int) -> None:
        """As `Files.close`."""

    def power_cut(self) -> None:
        """What no one synced may be gone: the end of the order log, or all of it but zeros."""
        for name, content in self.files.items():
            kept = self.draws.randint(min(self.synced.get(name, 0), len(content)), len(content))
            if self.draws.random() < 0.2:
                content[kept:] = bytes(len(content) - kept)
            else:
                del content[kept:]
        if self.unsynced is not None:
            self.content, self.rows = self.unsynced
        self.reordered = True

    def flip_in_log(self) -> None:
        """One bit of an entry of the order log; a header that is damaged twice is refused by name."""
        for content in self.files.values():
            if content.startswith(HEADER) and len(content) > len(HEADER):
                content[self.draws.randrange(len(HEADER), len(content))] ^= 1 << self.draws.randrange(8)
                self.reordered = True

    def flip_in_store(self) -> None:
        """One bit of one value."""
        places = sorted(self.content)
        if places:
            place = self.draws.choice(places)
            value = bytearray(self.content[place])
            value[self.draws.randrange(len(value))] ^= 1 << self.draws.randrange(8)
            self.content[place] = bytes(value)

    def keep_copy(self) -> None:
        """Keep what is committed now, if it is sound."""
        if self.content and self.sound:
            self.copy = dict(self.content), dict(self.rows)

    @property
    def sound(self) -> bool:
        """Whether every value of the store has its checksum."""
        try:
            for place, value in self.content.items():
                unsealed(*place, value)
        except StateError:
            return False
        return True

    def restore(self) -> None:
        """Bring the copy back, or begin anew, with an empty order log, as `checkpoint restore` does."""
        content, rows = self.copy or ({}, {})
        self.content, self.rows = dict(content), dict(rows)
        self.files.clear()
        self.synced.clear()
        self.reordered = True


class DiskStore:
    """A `Store` whose commits are on the disk when they return."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def load(self) -> Meta | None:
        """The committed meta state."""
        if ("meta", b"document") not in self._disk.content:
            return None
        return Meta(self._value("tensors"), self._value("document"), self._value("history"))

    def constants(self) -> bytes:
        """What of the model no event changes."""
        return self._value("constants") if ("meta", b"constants") in self._disk.content else b""

    def ids(self) -> Mapping[int, bytes]:
        """The blocks of event ids, verified."""
        keys = (key for _, key in self._disk.content if key.startswith(IDS))
        return {int(key.removeprefix(IDS), 16): self._value(key.decode()) for key in sorted(keys)}

    def united(self) -> bytes:
        """What the ranks of a group united to last."""
        return self._value("united") if ("meta", b"united") in self._disk.content else b""

    def _value(self, name: str) -> bytes:
        return unsealed("meta", name.encode(), self._disk.content["meta", name.encode()])

    def get(self, task: str) -> TaskRow | None:
        """One task, verified."""
        key = task_key(task)
        if key is None or task not in self._disk.rows:
            return None
        stats = unpack_stats(unsealed("stats", key, self._disk.content["stats", key]))
        memory = unsealed("memories", key, self._disk.content["memories", key])
        row = self._disk.rows[task]
        return row._replace(stats=stats, memory=memory)

    def get_many(self, tasks: Sequence[str]) -> list[TaskRow | None]:
        """These tasks."""
        return [self.get(task) for task in tasks]

    def commit(self, meta: Meta, tasks: Mapping[str, TaskRow | None], constants: bytes | None = None) -> int:
        """Replace the meta state and these tasks, at once."""
        disk, new = self._disk, dict(self._disk.content)
        whole = {"tensors": meta.tensors, "document": meta.document, "history": meta.history}
        if constants is not None:
            whole["constants"] = constants
        if meta.united is not None:
            whole["united"] = meta.united
        changed: Content = {("meta", name.encode()): value for name, value in whole.items()}
        for task, row in tasks.items():
            key = checked_key(task)
            new.pop(("stats", key), None)
            new.pop(("memories", key), None)
            if row is not None:
                changed["stats", key], changed["memories", key] = pack_stats(row.stats), row.memory
        for number, block in meta.ids.items():
            new.pop(place := ("meta", IDS + b"%016x" % number), None)
            if block is not None:
                changed[place] = block
        new |= {place: sealed(*place, value) for place, value in changed.items()}
        disk.clock.writing()
        if disk.full:
            raise StateError("the disk is full")
        disk.content = new
        disk.rows = {task: row for task, row in {**disk.rows, **tasks}.items() if row is not None}
        disk.clock.writing()
        rows = [(task.encode(), row) for task, row in tasks.items() if row is not None]
        written = sum(len(key) + len(row.memory) + len(row.buffer) for key, row in rows)
        written += sum(len(block) for block in meta.ids.values() if block is not None)
        return written + sum(map(len, whole.values()))

    def stats(self) -> Iterator[tuple[str, TaskStats]]:
        """All tasks with their statistics, of one commit."""
        content = self._disk.content
        for task in sorted(self._disk.rows):
            yield task, unpack_stats(unsealed("stats", task.encode(), content["stats", task.encode()]))

    def waiting(self) -> Iterator[tuple[str, Waiting]]:
        """The tasks of which something may expire."""
        for task, row in self._disk.rows.items():
            if row.waiting is not None:
                yield task, row.waiting

    def count(self) -> int:
        """How many tasks are stored."""
        return len(self._disk.rows)

    def close(self) -> None:
        """Nothing to release."""
