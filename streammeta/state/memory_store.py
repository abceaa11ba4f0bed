"""State that lives as long as its process: for tests, benchmarks and trials."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from streammeta.state.rows import checked_key
from streammeta.state.store import Meta, TaskRow, TaskStats, Waiting


class MemoryStore:
    """A `Store` in a dict. Ids and values are refused as the store on disk refuses them."""

    def __init__(self) -> None:
        self._meta: Meta | None = None
        self._constants = b""
        self._tasks: Mapping[str, TaskRow] = {}
        self._ids: Mapping[int, bytes] = {}
        self._united = b""

    def load(self) -> Meta | None:
        """The committed meta state; None when nothing was ever committed."""
        return self._meta

    def get(self, task: str) -> TaskRow | None:
        """One task; None when unknown."""
        return self._tasks.get(task)

    def get_many(self, tasks: Sequence[str]) -> list[TaskRow | None]:
        """These tasks."""
        return [self._tasks.get(task) for task in tasks]

    def constants(self) -> bytes:
        """What of the model no event changes; nothing before it was ever committed."""
        return self._constants

    def ids(self) -> Mapping[int, bytes]:
        """The blocks of event ids, by number."""
        return self._ids

    def united(self) -> bytes:
        """What the ranks of a group united to last; nothing where there is no group."""
        return self._united

    def commit(self, meta: Meta, tasks: Mapping[str, TaskRow | None], constants: bytes | None = None) -> int:
        """Replace the meta state and these tasks at once; the number of bytes they take.

        Costs a copy of the dict, so that iterators which already run keep what they saw.
        """
        content = [(checked_key(task), row) for task, row in tasks.items()]
        written = sum(len(key) + len(row.memory) + len(row.buffer) for key, row in content if row is not None)
        together = {**self._tasks, **tasks}
        ids = {**self._ids, **meta.ids}
        self._ids = {number: block for number, block in ids.items() if block is not None}
        written += sum(len(block) for block in meta.ids.values() if block is not None)
        self._meta, self._tasks = (
            replace(meta, ids={}, united=None),
            {task: row for task, row in together.items() if row is not None},
        )
        if meta.united is not None:
            self._united = meta.united
            written += len(meta.united)
        if constants is not None:
            self._constants = constants
            written += len(constants)
        return written + len(meta.tensors) + len(meta.document) + len(meta.history)

    def stats(self) -> Iterator[tuple[str, TaskStats]]:
        """All tasks with their statistics; the order of code points is the byte order of UTF-8."""
        tasks = self._tasks
        for task in sorted(tasks):
            yield task, tasks[task].stats

    def waiting(self) -> Iterator[tuple[str, Waiting]]:
        """The tasks of which something may expire."""
        for task, row in self._tasks.items():
            if row.waiting is not None:
                yield task, row.waiting

    def count(self) -> int:
        """How many tasks are stored."""
        return len(self._tasks)

    def close(self) -> None:
        """Nothing to release."""
