"""Round after round: who is there, who is drawn, what they return, and the commit.

A round that was not committed is made again after a crash, from the same w, with the same clients and the
memory that they had before it. A client that drops out stops nobody: the mean is over those that answered.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import structlog

from streammeta.clock import Clock
from streammeta.federated.book import Book
from streammeta.federated.calling import Called, Caller
from streammeta.federated.draws import drawn
from streammeta.federated.metrics import Figures
from streammeta.federated.records import Name
from streammeta.federated.settings import Federation
from streammeta.federated.watching import Watchers
from streammeta.models.constants import Constants, pack_constants
from streammeta.observe.snapshot import Snapshot
from streammeta.outcomes import Checkpointed, Stages
from streammeta.state.checkpoint import pack
from streammeta.state.store import Store

LOOK_SECONDS: Final = 0.1
"""How often it looks for clients while too few are there."""
TOLD_SECONDS: Final = 1.0
"""How often the observers hear of it while a round waits."""
DROPS_TOLD: Final = 20
"""Clients that dropped out of which each is told in the log; then they are counted alone."""


class Tested(NamedTuple):
    """Test losses after so many rounds, by group: clients that take part (known), that never do (unseen)."""

    rounds: int
    figures: Mapping[str, Figures]


@dataclass
class Report:
    """What came of a run.

    Attributes:
        rounds: Made in the life of the state.
        made: Made by this process.
        seconds: That those took.
        answered, dropped: Answers of clients to calls to learn, and why the others gave none.
        sent_bytes, received_bytes: Of parameters.
        tested: Test losses, as they were measured.
        last: The status at the end.
    """

    rounds: int = 0
    made: int = 0
    seconds: float = 0.0
    answered: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    sent_bytes: int = 0
    received_bytes: int = 0
    tested: list[Tested] = field(default_factory=list)
    last: Snapshot | None = None


@dataclass
class Rounds:
    """The server at work.

    Attributes:
        federation: How rounds are made.
        book, store: The state, and where it is committed.
        caller: Reaches the clients.
        watchers: Hear of everything.
        curves: The history as bytes.
        clock: Time.
        constants: Of the model; committed with the first round, None when the store holds them.
        report: What came of it so far.
    """

    federation: Federation
    book: Book
    store: Store
    caller: Caller
    watchers: Watchers
    curves: Callable[[], bytes]
    clock: Clock
    constants: Constants | None
    report: Report = field(default_factory=Report)
    _names: dict[int, Name] = field(default_factory=dict)
    _told_at: float = field(default=0.0)

    def run(self) -> Report:
        """Make rounds until there are enough, time is up, or it is told to stop."""
        going, self.caller.going = self.caller.going, self._turned(self.caller.going)
        began = self.clock.monotonic()
        try:
            while going() and not self._done(began):
                if self._gather() and self._round():
                    self._test_when_due()
            if going():
                self._test()
        finally:
            self.report.rounds = self.book.number
            self.report.seconds = self.clock.monotonic() - began
            self.report.last = self.watchers.status.snapshot()
        return self.report

    def _done(self, began: float) -> bool:
        rounds, seconds = self.federation.rounds, self.federation.seconds
        enough = rounds is not None and self.book.number >= rounds
        return enough or (seconds is not None and self.clock.monotonic() - began >= seconds)

    def _turned(self, going: Callable[[], bool]) -> Callable[[], bool]:
        """`going`, which also gives a sign of life now and then."""

        def turned() -> bool:
            now = self.clock.monotonic()
            if now - self._told_at >= TOLD_SECONDS:
                self._told_at = now
                self.watchers.turn()
            return going()

        return turned

    def _gather(self) -> bool:
        """Learn who is there; whether a round can be made. Waits a moment where it cannot."""
        nodes = {*self.caller.grid.get_node_ids()}
        self._names = {node: name for node, name in self._names.items() if node in nodes}
        unknown = sorted(nodes - {*self._names})
        if unknown and (self._names or len(nodes) >= self.federation.nodes):
            self._names |= self.caller.names(unknown, self.federation.round_seconds)
        training, testing = self._nodes(trains=True), self._nodes(trains=False)
        self.watchers.federated.nodes_are(len(training), len(testing))
        if training and len(nodes) >= self.federation.nodes:
            return True
        self.caller.pause(LOOK_SECONDS)
        self.caller.going()
        return False

    def _nodes(self, *, trains: bool) -> dict[str, int]:
        """Name -> node; of two nodes of one name, one."""
        return {name.name: node for node, name in sorted(self._names.items()) if name.trains == trains}

    def _round(self) -> bool:
        """One round; False when it was given up on the way."""
        book, federation = self.book, self.federation
        there = self._nodes(trains=True)
        chosen = drawn(there, federation.fraction, federation.seed, book.number)
        asked = {name: there[name] for name in chosen}
        began = self.clock.monotonic()
        called = self.caller.learn(asked, book.state.params, book.number, federation.round_seconds)
        if not called.whole:
            return False
        seconds = self.clock.monotonic() - began
        learned = book.fold(
            called.answers, self.store, int(self.clock.now() * 1000), _stages(called, seconds)
        )
        if learned is not None:
            self.watchers.tell(learned)
        self._count(called, seconds)
        self._commit()
        return True

    def _count(self, called: Called, seconds: float) -> None:
        report, number = self.report, self.book.number - 1
        self.watchers.federated.round_ended(called, seconds)
        report.made += 1
        report.answered += len(called.answers)
        report.sent_bytes += called.sent_bytes
        report.received_bytes += sum(answer.size_bytes for answer in called.answers)
        for drop in called.dropped:
            if sum(report.dropped.values()) < DROPS_TOLD:
                structlog.get_logger().warning("a client dropped out", round=number, **drop._asdict())
            report.dropped[drop.missed] = report.dropped.get(drop.missed, 0) + 1
        if not called.answers:
            structlog.get_logger().warning("no client answered: the parameters stay", round=number)

    def _commit(self) -> None:
        """The state after the round, on the disk."""
        began, constants = self.clock.monotonic(), self.constants
        meta = replace(pack(self.book.checkpoint()), history=self.curves())
        packed = None if constants is None else pack_constants(constants)
        written = self.store.commit(meta, self.book.rows, packed)
        self.book.rows, self.constants = {}, None
        seconds, stored = self.clock.monotonic() - began, self.store.count()
        self.watchers.tell(Checkpointed(True, seconds, written, self.clock.now(), 0, stored))
        self.watchers.turn()

    def _test_when_due(self) -> None:
        every = self.federation.evaluate_every
        if every and self.book.number % every == 0:
            self._test()

    def _test(self) -> None:
        """Measure test losses, unless they are known for this w."""
        book, seconds = self.book, self.federation.round_seconds
        if self.report.tested and self.report.tested[-1].rounds == book.number:
            return
        groups = {"known": self._nodes(trains=True), "unseen": self._nodes(trains=False)}
        figures = {}
        for group, nodes in groups.items():
            called = self.caller.test(nodes, book.state.params, book.number, seconds) if nodes else None
            if called is not None and called.whole and called.answers:
                figures[group] = Figures.of(answer.measured for answer in called.answers)
        if figures:
            self.report.tested.append(Tested(book.number, figures))
            self.watchers.federated.tested(figures)


def _stages(called: Called, seconds: float) -> Stages:
    """Where the time of one answer went: at the client, and, the rest, on the way and waiting."""
    known = [answer.measured.get("seconds", 0.0) for answer in called.answers]
    step = min(sum(known) / len(known), seconds) if known else 0.0
    return Stages(decode=0.0, load=seconds - step, step=step, store=0.0)
