"""A world: what outlives processes, and the steps of its plan as they come due."""

import json
import math
import random
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from streammeta.config import Config
from streammeta.errors import StateError
from streammeta.events import Record
from streammeta.runtime.controls import Controls
from streammeta.state.checksums import unsealed
from tests.scripted import Fuse
from tests.simulator.broker import Broker, Topic
from tests.simulator.clock import Clock
from tests.simulator.compiler import Workshop
from tests.simulator.disk import Content, Disk
from tests.simulator.journal import Journal, Violation
from tests.simulator.learner import SETTINGS
from tests.simulator.log import Fate, Log
from tests.simulator.plan import Plan, Step
from tests.simulator.stream import odd, record

WINDOW = 5
"""Records during which an event is known, in odd worlds."""
GIVEN_UP_SECONDS = 40.0
"""How long what the broker does not give may be waited for."""
DOCUMENT = ("meta", b"document")
PATIENCE_SECONDS = 200.0
"""How long after the last trouble everything may take."""


def config_of(plan: Plan, on_lost: str, on_corrupt: str = "fail") -> Config:
    """The settings of a plan."""
    state = {
        "cache_tasks": plan.cache_tasks,
        "checkpoint_events": plan.checkpoint_events,
        "checkpoint_seconds": 5.0,
    }
    events, kafka = {"batch": plan.batch}, {"on_lost_offsets": on_lost, "on_corrupt": on_corrupt}
    if plan.odd:
        events["dedupe_window_events"] = WINDOW
    return Config.model_validate({**SETTINGS, "state": state, "events": events, "kafka": kafka})


def _positions(content: Content) -> dict[int, int]:
    try:
        document = json.loads(unsealed(*DOCUMENT, content[DOCUMENT]))
    except (KeyError, StateError):
        return {}
    return {int(partition): offset for partition, offset in document["positions"].items()}


@dataclass
class World:
    """Everything that a process meets.

    Attributes:
        recording: Where the flight recorder writes, if one does.
        fuse: Of the life that runs, or the next.
        odd: As `draws`, for what only odd worlds have.
        power: The next kill takes the machine along.
        controls: Of the life that runs.
        on_lost, on_corrupt: What is set now.
        damaged: Partition and offset of what the broker will never give, and the number of its record.
        troubles: Seconds from and to which something was wrong, by kind.
        lives: Processes begun.
        deaths: Processes that did not end well, and copies brought back: what may write a letter again.
        uncertain: Seconds until which the broker may not be judged by its topic: it was made again.
    """

    plan: Plan
    recording: Path
    draws: random.Random = field(init=False)
    odd: random.Random = field(init=False)
    clock: Clock = field(init=False, default_factory=Clock)
    broker: Broker = field(init=False)
    disk: Disk = field(init=False)
    journal: Journal = field(init=False, default_factory=Journal)
    workshop: Workshop = field(init=False)
    fuse: Fuse = field(init=False, default_factory=Fuse)
    power: bool = field(init=False, default=False)
    controls: Controls = field(init=False, default_factory=Controls)
    on_lost: str = field(init=False)
    on_corrupt: str = field(init=False)
    damaged: dict[tuple[int, int], int] = field(init=False, default_factory=dict)
    troubles: list[tuple[float, float, str]] = field(init=False, default_factory=list)
    lives: int = field(init=False, default=0)
    deaths: int = field(init=False, default=0)
    uncertain: float = field(init=False, default=-1.0)
    ends_at: float = field(init=False)
    _serial: int = field(init=False, default=0)
    _transactions: int = field(init=False, default=0)
    _sent: list[Record] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        """At the beginning of time, with all steps to come."""
        plan = self.plan
        self.draws, self.odd = random.Random(plan.seed + 1_000_000_007), random.Random(f"odd {plan.seed}")
        self.trials.unlink(missing_ok=True)
        topic = Topic(f"00000000-0000-0000-0000-{1:012d}", [Log() for _ in range(plan.partitions)])
        self.broker = Broker(self.clock, self.draws, topic, unheard=0.03)
        self.broker.on_told = self.check_told
        self.disk = Disk(self.clock, self.draws)
        self.workshop = Workshop(plan.compiled_looks)
        self.on_lost, self.on_corrupt, self.ends_at = plan.on_lost, plan.on_corrupt, plan.ends_at
        self.clock.limit_seconds = self.ends_at + PATIENCE_SECONDS
        for step in plan.steps:
            self.clock.at(step.at, partial(self._happen, step))

    @property
    def trials(self) -> Path:
        """The file of what is being tried."""
        return self.recording.with_name("trials")

    def _happen(self, step: Step) -> None:
        getattr(self, f"_{step.kind}")(step.number)

    def _trouble(self, kind: str, seconds: float = 0.0) -> float:
        self.troubles.append((self.clock.now, self.clock.now + seconds, kind))
        return self.clock.now + seconds

    def troubled(self, *kinds: str, within_seconds: float) -> bool:
        """Whether one of these was there in the last so many seconds."""
        since = self.clock.now - within_seconds
        return any(kind in kinds and until >= since for _, until, kind in self.troubles)

    def positions(self) -> dict[int, int]:
        """The next offsets in the state on the disk; none where it is damaged."""
        return _positions(self.disk.content)

    def _write(self, count: float, transaction: int | None = None) -> None:
        task = self.draws.randrange(self.plan.tasks)
        logs = self.broker.topic.logs
        log = logs[task % len(logs)]
        if transaction is not None:
            log.begin(transaction)
        for _ in range(int(count)):
            self._serial += 1
            made = record(self.draws, self._serial, task)
            if self.plan.odd:
                made = odd(self.odd, made, self._sent)
            log.append(made, task % len(logs), self.clock.now, transaction)
        if transaction is not None:
            self._end_later(log, transaction)

    def _transaction(self, count: float) -> None:
        self._transactions += 1
        self._write(count, self._transactions)

    def _end_later(self, log: Log, transaction: int) -> None:
        when = self.clock.now + self.draws.choice((0.05, 0.5, 8.0))
        self.ends_at = max(self.ends_at, when)
        fate: Fate = "committed" if self.draws.random() < 0.5 else "aborted"
        self.clock.at(when, lambda: log.finish(transaction, fate, self.clock.now))

    def _freeze(self, seconds: float) -> None:
        self.broker.freeze(seconds)
        self._trouble("broker", seconds)

    def _down(self, seconds: float) -> None:
        self.broker.stop()
        self.broker.down_until = self._trouble("broker", seconds)

    def _refuse(self, seconds: float) -> None:
        self.broker.stop()
        self.broker.refused_until = self._trouble("login", seconds)

    def _throttle(self, seconds: float) -> None:
        self.broker.throttled_until = self._trouble("quota", seconds)

    def _letters_down(self, seconds: float) -> None:
        self.broker.letters_until = self._trouble("letters", seconds)

    def _leaderless(self, seconds: float) -> None:
        partition = self.draws.randrange(len(self.broker.topic.logs))
        self.broker.leaderless[partition] = self._trouble("leader", seconds)

    def _safe(self, partition: int) -> int:
        """Up to where no state, nor a copy of one, needs the log any more; anywhere if losses are planned."""
        log = self.broker.topic.logs[partition]
        if self.plan.lossy:
            return self.draws.randint(log.first, log.end)
        now = self.positions().get(partition, 0)
        return min(now, self.copied.get(partition, 0)) if self.disk.copy else now

    @property
    def copied(self) -> dict[int, int]:
        """The next offsets in the copy."""
        return _positions(self.disk.copy[0]) if self.disk.copy else {}

    def _expire(self, _number: float) -> None:
        for partition, log in enumerate(self.broker.topic.logs):
            log.expire(self._safe(partition))
        self._trouble("loss")

    def _compact(self, _number: float) -> None:
        for partition, log in enumerate(self.broker.topic.logs):
            until = min(self._safe(partition), log.end - 1)
            log.compact([offset for offset in range(log.first, until) if self.draws.random() < 0.5])
        self._trouble("loss")

    def _withhold(self, seconds: float) -> None:
        """A part of what nobody was given yet; for ever where the number is negative."""
        self._write(3)
        logs = self.broker.topic.logs
        fit = [p for p, log in enumerate(logs) if log.fetched < log.readable and not log.hidden]
        if not fit:
            return
        partition = self.odd.choice(fit)
        log = logs[partition]
        first = self.odd.randrange(max(log.first, log.fetched), log.readable)
        log.hidden = range(first, min(log.readable, first + self.odd.randint(1, 5)))
        log.corrupt, log.hidden_until = seconds == -2, self._trouble("withheld", max(0.0, seconds))
        if seconds < 0:
            log.hidden_until = math.inf
            for offset in log.hidden:
                entry = log.entries.get(offset)
                seen = entry is not None and log.visible(entry)
                self.damaged[partition, offset] = (
                    entry.record.timestamp_ms if entry and entry.record and seen else -1
                )

    def _grow(self, _number: float) -> None:
        if len(self.broker.topic.logs) < 5:
            self.broker.grow()

    def _remake(self, _number: float) -> None:
        self.broker.remake()
        self.uncertain = self.clock.now + 30.0
        self._trouble("loss")

    def _disk_full(self, seconds: float) -> None:
        self.disk.full_until = self._trouble("disk", seconds)

    def _flip_log(self, _number: float) -> None:
        """While nobody runs, as damage is met when a process starts."""
        self._trouble("flip_log")

    def _flip_store(self, _number: float) -> None:
        if self.disk.copy is None:
            self.disk.keep_copy()
        self.disk.flip_in_store()
        self._trouble("damage")

    def _keep_copy(self, _number: float) -> None:
        self.disk.keep_copy()

    def _stop(self, _number: float) -> None:
        self.controls.stop = True

    def _kill(self, moments: float) -> None:
        self.fuse.length = int(moments)

    def _kill_writing(self, moments: float) -> None:
        self.clock.writes.length = int(moments)

    def _power_cut(self, moments: float) -> None:
        self.fuse.length, self.power = int(moments), True

    def restore(self) -> None:
        """Bring the copy back: letters may be written once more for each that was."""
        self.disk.restore()
        self.deaths += len(self.journal.rows)

    def died(self) -> None:
        """A process was killed, or gave up."""
        self.deaths += 1
        if self.damaged:  # what was passed is asked for again
            self.clock.limit_seconds += 2 * GIVEN_UP_SECONDS
        self.broker.life += 1
        self.fuse = Fuse()
        self.clock.fuse, self.clock.writes = self.fuse, Fuse()
        if self.power:
            self.power = False
            self.disk.power_cut()
            if self.odd.random() < 0.5:
                self.trials.unlink(missing_ok=True)
            self.check_told()
        if any(kind == "flip_log" for _, _, kind in self.troubles):
            self.troubles = [trouble for trouble in self.troubles if trouble[2] != "flip_log"]
            self.disk.flip_in_log()

    def check_told(self) -> None:
        """What the group was told is in the state on the disk.

        Raises:
            Violation: it is not.
        """
        durable = self.positions()
        ahead = {p: at for p, at in self.broker.committed.items() if at > durable.get(p, 0)}
        if ahead and not self.troubled("damage", "loss", within_seconds=1e9):
            raise Violation(f"the group was told {ahead}, the state on the disk is at {durable}")
