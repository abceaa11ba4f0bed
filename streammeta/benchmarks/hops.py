"""`hops`: the microseconds of each hop of one event, in the real daemon while it learns from a broker.

The functions of `HOPS` are timed where they stand, in a process of its own. A hop's time is its own: what it
spends in other hops is theirs. What the clock costs, about a microsecond a call, is measured and taken off.
"""

import tempfile
from collections.abc import Iterator
from typing import Any, Final

import streammeta.runtime.reading
from streammeta.benchmarks.apart import apart
from streammeta.benchmarks.brokers import broker, new_topic, reads
from streammeta.benchmarks.daemons import Marks, daemon
from streammeta.benchmarks.rows import Plan, Row, Size, absent
from streammeta.benchmarks.turns import Rounds
from streammeta.benchmarks.watch import Tally, Watch, costs
from streammeta.errors import BrokerUnavailable
from streammeta.learner.engine import Engine
from streammeta.learner.executors.compiled import Compiled, CompiledSteps
from streammeta.learner.executors.process import TracedStep
from streammeta.learner.tracing import Steps
from streammeta.runtime.commit import Commits
from streammeta.runtime.intake import Intake
from streammeta.runtime.telling import Telling
from streammeta.state.order_log import OrderLog
from streammeta.stream.kafka.source import KafkaSource

POLL, STEP, LOOP = "poll", "step", "loop, all else"
HOPS: Final[dict[str, tuple[tuple[Any, str], ...]]] = {
    POLL: ((KafkaSource, "poll"),),
    "order log": ((OrderLog, "append"),),
    "decode": ((streammeta.runtime.reading, "decode"),),
    "gather": ((Intake, "take"),),
    "columns": ((Engine, "place"),),
    "recall": ((Engine, "load"),),
    "learn, around the step": ((Engine, "learn"),),
    STEP: ((Steps, "update"),),
    "fold": ((Engine, "fold"),),
    "settle": ((Intake, "settle"),),
    "observe": ((Telling, "tell"),),
    "checkpoint, on the path": ((Commits, "begin"), (Commits, "look"), (Commits, "end")),
}
"""Hop -> what it is in the code. The step is the traced graph, or what the compile cache gives instead."""

SCALES: dict[Size, tuple[int, int, int]] = {
    "small": (700, 100, 100),
    "usual": (20_000, 2000, 1000),
    "full": (50_000, 2000, 1000),
}
"""Events; those before the clock runs; those between two checkpoints."""
ROUNDS: dict[Size, int] = {"small": 1, "usual": 5, "full": 9}


def hops(plan: Plan) -> Iterator[Row]:
    """Microseconds an event of each hop, and of all Python around the step, the Kafka client excluded."""
    try:
        with broker(plan) as served, tempfile.TemporaryDirectory() as folder:
            events, warm, checkpoint = SCALES[plan.size]
            settings = [
                *reads(served.servers, new_topic(served.servers, events)),
                f"state.checkpoint_events={checkpoint}",
            ]
            about = {"folder": folder, "executor": plan.executor, "settings": settings, "warm": warm}
            runs = [
                (apart(__name__, "watched", **about), apart(__name__, "unwatched", **about))
                for _ in range(plan.rounds_of(ROUNDS) + plan.uncounted)
            ][plan.uncounted :]
    except BrokerUnavailable as error:
        yield absent("an event", "µs", str(error))
        return
    for hop in runs[0][0]:
        yield _row(hop, [taken[hop] for taken, _ in runs])
    around = [sum(cost for hop, cost in taken.items() if hop not in (POLL, STEP)) for taken, _ in runs]
    yield _row(AROUND, around)
    yield _row("an event in all, watched", [sum(taken.values()) for taken, _ in runs])
    yield _row("an event in all, unwatched", [alone for _, alone in runs])


AROUND: Final = "Python around the step, Kafka client excluded"


def _row(name: str, seconds: list[float]) -> Row:
    return Rounds(tuple(seconds)).row(name, "µs", 1e6)


def unwatched(folder: str, executor: str, settings: list[str], warm: int) -> float:
    """Seconds an event of the daemon as it is."""
    with tempfile.TemporaryDirectory(dir=folder) as state:
        return daemon(state, executor, settings).event_seconds(warm)


def watched(folder: str, executor: str, settings: list[str], warm: int) -> dict[str, float]:
    """Seconds an event by hop, from the first checkpoint behind `warm` events to the last."""
    watch, notes = Watch(), list[tuple[dict[str, Tally], Tally]]()
    for hop, places in HOPS.items():
        watch.put(hop, places)
    _watch_compiled(watch)
    marks = Marks(lambda: notes.append(watch.note()))
    with tempfile.TemporaryDirectory(dir=folder) as state:
        daemon(state, executor, settings, marks=marks)
    first = next(number for number, mark in enumerate(marks.checkpoints) if mark[1] >= warm)
    (began, before), (ended, after) = marks.checkpoints[first], marks.checkpoints[-1]
    (early, root), (late, last) = notes[first], notes[-1]
    tallies = {hop: late[hop].since(early[hop]) for hop in late}
    own, caller = costs()
    taken = {hop: tally.seconds - own * tally.calls - caller * tally.within for hop, tally in tallies.items()}
    unwatched = ended - began - sum(tally.seconds for tally in tallies.values())
    taken[LOOP] = unwatched - caller * last.since(root).within
    return {hop: seconds / (after - before) for hop, seconds in taken.items()}


def _watch_compiled(watch: Watch) -> None:
    """Watch the steps that the compile cache gives."""
    require = CompiledSteps.require

    def watched_step(steps: CompiledSteps, step: TracedStep) -> Compiled:
        compiled = require(steps, step)
        return compiled._replace(run=watch.timed(STEP, compiled.run))

    setattr(CompiledSteps, require.__name__, watched_step)
