"""One life of the daemon in a world: the real source, dead letters, loop, engine, order log; and its end."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Literal

from streammeta.clock import Clock as Readings
from streammeta.errors import (
    BrokerUnavailable,
    DamagedLog,
    DeadLetterFailed,
    LoginRefused,
    LostOffsets,
    StateError,
    StreammetaError,
)
from streammeta.events import Record
from streammeta.recording.flight import FlightRecorder
from streammeta.runtime.assembly import assemble
from streammeta.runtime.blueprint import restore
from streammeta.runtime.controls import Controls
from streammeta.runtime.loop import Loop
from streammeta.runtime.tape import Tape
from streammeta.state.checkpoint import Checkpoint
from streammeta.state.order_log import OrderLog
from streammeta.state.trials import Trials
from streammeta.stream.kafka.dead_letters import KafkaDeadLetters
from streammeta.stream.kafka.source import KafkaSource
from tests.scripted import Aside, Killed
from tests.simulator.broker import TOPIC
from tests.simulator.compiler import SimulatedSteps
from tests.simulator.disk import DiskStore
from tests.simulator.journal import Both, Violation
from tests.simulator.learner import blueprint_for
from tests.simulator.stream import lethal
from tests.simulator.watcher import Watcher
from tests.simulator.world import World, config_of

Ending = Literal["rested", "stopped", "killed", "failed"]
RESTART_SECONDS = 2.0
ORDER_LOG = Path("order.log")


def live(world: World) -> Ending:
    """A life, up to its end; what it left is in the world.

    Raises:
        Violation: an invariant does not hold.
        Hung: it waits without end.
    """
    watcher = Watcher(world)
    world.controls = Controls()
    world.clock.fuse = world.fuse
    world.broker.began_at = world.clock.now
    try:
        _live(world, watcher)
    except Killed:
        world.died()
        return "killed"
    except StreammetaError as error:
        _judge(world, error)
        world.died()
        return "failed"
    world.broker.life += 1
    return "rested" if watcher.rested else "stopped"


def _live(world: World, watcher: Watcher) -> None:
    config = config_of(world.plan, world.on_lost, world.on_corrupt)
    blueprint, store = blueprint_for(config, real=world.plan.real), DiskStore(world.disk)
    log = OrderLog(ORDER_LOG, expected=store.load() is not None, files=world.disk)
    begun = restore(blueprint, store)
    world.journal.begin(begun.recording, witness=not (world.disk.reordered or world.plan.lossy))
    world.disk.reordered = False
    clock, controls = world.clock, world.controls

    def keep_going() -> bool:
        return not controls.stop

    with _tape(world, begun) as tape, _tried(world) as trials:
        loop = assemble(
            config,
            blueprint,
            begun,
            source=KafkaSource(config.kafka, keep_going=keep_going, clock=clock.monotonic),
            dead_letters=KafkaDeadLetters(config.kafka, keep_going=keep_going),
            store=store,
            order_log=log,
            observers=(watcher,),
            controls=controls,
            clock=Readings(clock.monotonic, clock.time),
            tape=tape,
            trials=trials,
            aside=Aside(lambda: world.draws.choice((0, 0, 1, 2, 5))),
            compiled=SimulatedSteps(world.workshop) if world.plan.compiled_looks else None,
        )
        _run(world, watcher, loop)
    log.close()


def _tape(world: World, begun: Checkpoint) -> AbstractContextManager[Tape]:
    if not world.plan.recorded:
        return nullcontext(world.journal)
    return _recorded(world, begun)


@contextmanager
def _recorded(world: World, begun: Checkpoint) -> Iterator[Tape]:
    with FlightRecorder(world.recording, TOPIC, begun, part_bytes=2_000) as recorder:
        yield Both(world.journal, recorder)


class LethalTrials(Trials):
    """The real ones; some records kill when they are learned."""

    def learning(self, records: Sequence[Record]) -> None:
        """As `Trials.learning`."""
        super().learning(records)
        if any(record.flaw is None and lethal(record) == b"step" for record in records):
            raise Killed


@contextmanager
def _tried(world: World) -> Iterator[LethalTrials]:
    """A killed process leaves its marks."""
    trials = LethalTrials(world.trials)
    try:
        yield trials
    except Killed:
        raise
    except BaseException:
        trials.close()
        raise
    trials.close()


def _run(world: World, watcher: Watcher, loop: Loop) -> None:
    watcher.loop = loop
    ledger, executors = loop.intake.ledger, loop.intake.engine.executors
    world.journal.serving = lambda: (ledger.topic_id, bool(executors.names))
    loop.run()
    loop.source.close()
    loop.intake.telling.dead_letters.close()


def _judge(world: World, error: StreammetaError) -> None:
    """A program may end with an error where there is a reason for it, as its exit code says.

    Raises:
        Violation: there is none.
    """
    if isinstance(error, LostOffsets):
        if not world.plan.lossy:
            raise Violation(f"nothing was lost, and yet: {error}") from error
        world.on_lost = "earliest"
    elif isinstance(error, DamagedLog):
        if not world.damaged:
            raise Violation(f"what was withheld came, and yet: {error}") from error
        world.on_corrupt = "skip"
    elif isinstance(error, StateError):
        damaged = not world.disk.sound
        if not damaged and not world.troubled("disk", within_seconds=1.0):
            raise Violation(f"the disk is well, and yet: {error}") from error
        if damaged:
            world.restore()
    elif isinstance(error, LoginRefused):
        _require(world, error, "login", seconds=75.0)
    elif isinstance(error, BrokerUnavailable | DeadLetterFailed):
        if not world.controls.stop:
            _require(world, error, "broker", "login", "leader", "letters", seconds=35.0)
    else:
        raise Violation(f"no reason for {error!r}") from error


def _require(world: World, error: StreammetaError, *kinds: str, seconds: float) -> None:
    if not world.troubled(*kinds, within_seconds=seconds):
        raise Violation(f"the broker is well, and yet: {error}") from error
