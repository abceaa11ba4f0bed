"""A world in which the daemon lives: what outlives the process, and lives that are killed at any moment."""

import random
import tempfile
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import UnionType

import torch

from streammeta.clock import Clock
from streammeta.config import Config, config_hash, fit
from streammeta.distributed.group import Group
from streammeta.errors import BadEvent
from streammeta.events import Record
from streammeta.learner.executors.cache import Cache
from streammeta.learner.executors.compiled import CompiledSteps
from streammeta.outcomes import Learned, LearnedRow, Observer, Outcome
from streammeta.programs.replay import untimed
from streammeta.recording.flight import FlightRecorder
from streammeta.recording.reader import Recording
from streammeta.recording.selection import ALL, Selection
from streammeta.recording.source import ReplaySource
from streammeta.runtime.assembly import assemble
from streammeta.runtime.blueprint import Blueprint, build_blueprint, restore
from streammeta.runtime.controls import Controls
from streammeta.runtime.tape import NoTape, Tape
from streammeta.runtime.uniting import Member
from streammeta.state.checkpoint import Checkpoint, unpack
from streammeta.state.memory_store import MemoryStore
from streammeta.state.store import TaskRow
from streammeta.stream.base import Source
from streammeta.stream.share import Share
from tests.compiled_steps import AtHand, compiled_once, zeros
from tests.scripted import (
    Aside,
    CollectedAnswers,
    CollectedDeadLetters,
    Fuse,
    FusedOrderLog,
    FusedStore,
    Killed,
    ScriptedSource,
)

CONFIG = Config.model_validate(
    {
        "model": {"factory": "streammeta.models:mlp", "args": {"sizes": [2, 3, 1]}, "dtype": "float64"},
        "algorithm": {"name": "moml", "inner_lr": 0.05, "beta": 0.3},
        "outer": {"name": "sgd", "lr": 0.05, "momentum": 0.5, "clip_norm": 5.0},
        "state": {"cache_tasks": 4, "checkpoint_events": 7, "checkpoint_seconds": 1000.0},
    }
)
LINGER_SECONDS = CONFIG.events.batch_linger_seconds


@cache
def blueprint() -> Blueprint:
    """Traced once for all tests: a trace costs half a second."""
    return build_blueprint(CONFIG)


def batches_of(size: int) -> Config:
    """The configuration with iterations of up to so many events."""
    return CONFIG.model_copy(update={"events": CONFIG.events.model_copy(update={"batch": size})})


def blueprint_for(config: Config) -> Blueprint:
    """The same traces under another configuration of what is an iteration."""
    return replace(
        blueprint(), origin=replace(blueprint().origin, fit=fit(config), config_hash=config_hash(config))
    )


@dataclass
class World:
    """What outlives the process: the store, the order log's file, the dead letters, the broker's offsets."""

    script: list[Record]
    base: Path
    config: Config = CONFIG
    pauses: frozenset[int] = frozenset()
    store: MemoryStore = field(default_factory=MemoryStore)
    dead: list[tuple[Record, BadEvent]] = field(default_factory=list)
    answered: list[tuple[Record, Record]] = field(default_factory=list)
    """What the output topic holds, where there is one: the records that asked, and their answers."""
    source: ScriptedSource | None = None
    topic_id: str = ""
    slow: bool = False
    part_bytes: int | None = None
    compiled_from: Path | None = None
    takes: Callable[[Record], bool] = lambda _: True
    """Whether the output topic can hold an answer."""
    learner: Blueprint | None = None
    """Of another algorithm than the world's own."""
    recording: Path = field(init=False)
    folder: Path = field(init=False)

    def __post_init__(self) -> None:
        """A folder of its own, also for the same example tried twice."""
        self.folder = Path(tempfile.mkdtemp(dir=self.base))
        self.recording = self.folder / "recording"

    def live(
        self,
        *,
        fuse: Fuse | None = None,
        batch: Callable[[], int] = lambda: 5,
        redeliver: Callable[[], int] = lambda: 0,
        looks: Callable[[], int] = lambda: 0,
        arrives: Callable[[], bool] = lambda: False,
        observers: tuple[Observer, ...] = (),
        controls: Controls | None = None,
        group: Group | None = None,
    ) -> bool:
        """One life of the daemon, up to the end of the script; False when it was killed on the way."""
        fuse = fuse or Fuse()
        store = FusedStore(fuse, self.store)
        log = FusedOrderLog(self.folder / "order.log")
        log.fuse = fuse
        time = [0.0]

        def pause() -> None:
            time[0] += 1.01 * LINGER_SECONDS

        self.source = ScriptedSource(
            self.script, batch, redeliver, fuse, self.pauses, pause, topic_id=self.topic_id
        )
        source = self._reads_from(self.source)
        own_blueprint = self.learner or blueprint_for(self.config)
        begun = restore(own_blueprint, store)
        try:
            with self._tape(begun) as tape:
                assemble(
                    self.config,
                    own_blueprint,
                    begun,
                    source=source,
                    dead_letters=CollectedDeadLetters(self.dead, fuse, slow=self.slow),
                    answers=CollectedAnswers(self.answered, fuse, arrives, self.takes)
                    if self.config.predict.output_topic
                    else None,
                    store=store,
                    order_log=log,
                    observers=(burning(fuse), *observers),
                    controls=controls,
                    clock=Clock(monotonic=lambda: time[0], now=lambda: 0.0),
                    tape=tape,
                    aside=Aside(looks),
                    compiled=_compiled(self.compiled_from),
                    member=None if group is None else Member(group, Share(group.rank, group.world)),
                ).run(until_end=True)
        except Killed:
            return False
        finally:
            log.close()
        return True

    def live_killed(self, fuses: Iterable[int], draws: random.Random) -> bool:
        """Lives cut at these lengths, then one that is not; polled, redelivered and committed as drawn."""
        lives = [*(Fuse(length) for length in fuses), Fuse()]
        ended = [
            self.live(
                fuse=fuse,
                batch=lambda: draws.randint(1, 9),
                redeliver=lambda: draws.randint(0, 4),
                looks=lambda: draws.choice((0, 0, 1, 2, 5)),
                arrives=lambda: draws.random() < 0.4,
            )
            for fuse in lives
        ]
        return ended[-1]

    def _reads_from(self, source: ScriptedSource) -> Source:
        """What a life reads from."""
        return source

    def _tape(self, begun: Checkpoint) -> AbstractContextManager[Tape]:
        if self.part_bytes is None:
            return nullcontext(NoTape())
        return FlightRecorder(self.recording, "tasks", begun, part_bytes=self.part_bytes)

    def replayed(
        self,
        selection: Selection = ALL,
        *,
        fuse: Fuse | None = None,
        into: "World | None" = None,
        compiled_from: Path | None = None,
    ) -> "World":
        """Another world, into which the recording of this one was replayed, as far as the fuse lets it."""
        world = into or World([], self.base, self.config)
        fuse = fuse or Fuse()
        source = ReplaySource(Recording(self.recording), selection)
        own_blueprint = blueprint_for(self.config)
        store, log = FusedStore(fuse, world.store), FusedOrderLog(world.folder / "order.log")
        log.fuse = fuse
        begun = restore(own_blueprint, store)
        source.resume(begun)
        try:
            assemble(
                untimed(self.config),
                own_blueprint,
                begun,
                source=source,
                dead_letters=CollectedDeadLetters(world.dead, fuse),
                store=store,
                order_log=log,
                observers=(burning(fuse),),
                tape=source,
                aside=Aside(lambda: 0),
                compiled=_compiled(compiled_from or self.compiled_from),
            ).run(until_end=True)
        except Killed:
            pass
        finally:
            log.close()
        return world

    def checkpoint(self) -> Checkpoint:
        """The committed meta state."""
        meta = self.store.load()
        assert meta is not None
        return unpack(meta)

    def rows(self) -> dict[str, TaskRow]:
        """All committed tasks."""
        rows = {task: self.store.get(task) for task, _ in self.store.stats()}
        return {task: row for task, row in rows.items() if row is not None}


def _compiled(directory: Path | None) -> CompiledSteps | None:
    return None if directory is None else AtHand(Cache(directory))


def compile_world(directory: Path, size: int) -> Path:
    """Have the step of the world's learner for iterations of so many events there, compiled."""
    state, sets = blueprint().learner.init(blueprint().network.initial), ((3, 2), (3, 1))
    compiled_once(directory, blueprint().steps, state, zeros(size, sets, sets))
    return directory


def same(one: World, two: World) -> bool:
    """Whether two states hold the same bits: meta-parameters, momentum, memories, statistics, counters."""
    a, b = one.checkpoint(), two.checkpoint()
    return (
        torch.equal(a.state.params, b.state.params)
        and torch.equal(a.state.outer["momentum"], b.state.outer["momentum"])
        and repr((a.progress, sorted(a.positions.items()), a.refused, a.tally))
        == repr((b.progress, sorted(b.positions.items()), b.refused, b.tally))
        and repr(one.rows()) == repr(two.rows())
    )


def stop_after(number: int, of: type | UnionType) -> tuple[Controls, Observer]:
    """Controls, and an observer that asks them to stop after so many of these outcomes (or events)."""
    controls, left = Controls(), number

    def count(outcome: Outcome) -> None:
        nonlocal left
        if isinstance(outcome, of):
            left -= len(outcome) if isinstance(outcome, Learned) else 1
        controls.stop = left <= 0

    return controls, count


def burning(fuse: Fuse) -> Observer:
    """An observer that burns it: a moment for each event learned, and for everything else that happens."""

    def burn(outcome: Outcome) -> None:
        for _ in range(len(outcome) if isinstance(outcome, Learned) else 1):
            fuse.passed()

    return burn


def rows_of(told: Iterable[Outcome]) -> list[LearnedRow]:
    """The events learned, one by one."""
    return [row for outcome in told if isinstance(outcome, Learned) for row in outcome.rows()]
