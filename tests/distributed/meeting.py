"""A group in one process: its ranks are threads that meet here."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce

import torch
from torch import Tensor

from streammeta.distributed.group import Group, Missing
from streammeta.errors import GroupLost


@dataclass
class Meeting:
    """Where they meet. When one is lost, all are: as `torchrun` kills those that are left."""

    world: int
    said: dict[str, dict[int, object]] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)
    lost: bool = False

    def member(self, rank: int) -> Group:
        """One rank's end."""
        return _Member(self, rank, self.world)

    def lose(self) -> None:
        """A rank has died."""
        with self.changed:
            self.lost = True
            self.changed.notify_all()

    def say(self, label: str, rank: int, word: object, waiting: Callable[[list[int]], None]) -> list[object]:
        """Say a word and hear those of all."""
        with self.changed:
            words = self.said.setdefault(label, {})
            words[rank] = word
            self.changed.notify_all()
            while len(words) < self.world:
                if self.lost:
                    raise GroupLost("a rank has died")
                self.changed.wait(0.05)
                waiting([rank for rank in range(self.world) if rank not in words])
            return [words[rank] for rank in range(self.world)]


@dataclass
class _Member:
    meeting: Meeting
    rank: int
    world: int
    exchanges: int = 0

    def gather(self, label: str, word: bytes, missing: Missing) -> list[bytes]:
        """As `Group.gather`."""
        words = self.meeting.say(label, self.rank, word, missing)
        return [word for word in words if isinstance(word, bytes)]

    def begun(self, label: str) -> bool:
        """As `Group.begun`."""
        return bool(self.meeting.said.get(label))

    def mean(self, numbers: Tensor, share: float, missing: Missing) -> Tensor:
        """As `Group.mean`, summed in the order of ranks."""
        parts = self._exchange(numbers * share, missing)
        return reduce(torch.add, [part for part in parts if isinstance(part, Tensor)])

    def spread(self, content: bytes, root: int, missing: Missing) -> bytes:
        """As `Group.spread`."""
        found = self._exchange(content, missing)[root]
        assert isinstance(found, bytes)
        return found

    def close(self) -> None:
        """Nothing to let go of."""

    def _exchange(self, part: object, missing: Missing) -> list[object]:
        self.exchanges += 1
        return self.meeting.say(f"exchange/{self.exchanges}", self.rank, part, missing)
