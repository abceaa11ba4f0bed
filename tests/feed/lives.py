"""A champion and a challenger of scripted worlds: lives that are cut anywhere, and one feed between them."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from streammeta.events import Record, Run
from streammeta.feed.source import FeedSource
from streammeta.feed.writer import FeedWriter
from streammeta.runtime.tape import Tape
from streammeta.state.checkpoint import Checkpoint
from streammeta.stream.base import Source, Waiting, untold
from tests.scripted import ScriptedSource
from tests.world import World


@dataclass
class Broker:
    """What the broker holds, for a challenger that misses something; counts what it was asked for."""

    script: list[Record]
    topic_id: str = ""
    asked: list[Run] = field(default_factory=list)

    def fetch(self, run: Run, waiting: Waiting = untold) -> tuple[list[Record], int]:
        """As `Runs.fetch`."""
        waiting()
        self.asked.append(run)
        held = [r for r in self.script if r.partition == run.partition and run.first <= r.offset < run.end]
        return held, run.end

    def are_of(self, topic_id: str) -> bool:
        """As `Runs.are_of`, where that may be passed over."""
        return "" in {topic_id, self.topic_id} or topic_id == self.topic_id

    def first(self, _partition: int) -> int:
        """The first offset that it holds."""
        return 0

    def close(self) -> None:
        """Nothing to let go of."""


class Signs:
    """The champion has written all that there is for now."""

    going_on = True

    def __init__(self, *, ended: bool = True) -> None:
        self.ended = ended

    def wait(self, seconds: float) -> None:
        """Nothing more comes."""


class Champion(World):
    """A world whose lives write a feed; a killed one writes no more."""

    segment_bytes = 1 << 24
    bound_bytes = 1 << 30

    @property
    def feed(self) -> Path:
        """Its directory."""
        return self.folder / "feed"

    def _tape(self, begun: Checkpoint) -> AbstractContextManager[Tape]:
        return self._feeding(begun)

    @contextmanager
    def _feeding(self, begun: Checkpoint) -> Iterator[Tape]:
        writer = FeedWriter(
            self.feed, begun.positions, segment_bytes=self.segment_bytes, bound_bytes=self.bound_bytes
        )
        try:
            yield writer
        except BaseException:
            writer.flush = lambda: None  # type: ignore[method-assign]  # a killed process flushes nothing
            raise
        finally:
            writer.close()


@dataclass
class Challenger(World):
    """A world that reads a feed as far as it goes, life after life."""

    feed: Path = Path()
    broker: Broker = field(default_factory=lambda: Broker([]))

    def _reads_from(self, source: ScriptedSource) -> Source:
        del source
        return FeedSource(self.feed, "tasks", Signs(), lambda: self.broker, self.broker.first)


@contextmanager
def source_of(feed: Path, broker: Broker, *, ended: bool = True) -> Iterator[FeedSource]:
    """A source alone."""
    with closing(FeedSource(feed, "tasks", Signs(ended=ended), lambda: broker, broker.first)) as source:
        yield source
