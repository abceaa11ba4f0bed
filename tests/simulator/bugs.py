"""Bugs to be planted one at a time, each a few lines of the runtime done wrong: they must be found."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final
from unittest.mock import patch

from streammeta.events import OrderEntry, Positions, Record, Run, Switch
from streammeta.runtime.commit import Commits
from streammeta.runtime.first_refusals import FirstRefusals
from streammeta.runtime.intake import Intake
from streammeta.runtime.loop import Loop
from streammeta.state.order_log import OrderLog
from streammeta.state.store import Meta, TaskRow
from streammeta.stream.kafka import reader, withheld
from streammeta.stream.kafka.dead_letters import KafkaDeadLetters
from streammeta.stream.kafka.source import KafkaSource
from streammeta.stream.kafka.watch import Watch
from tests.simulator.disk import DiskStore

Planted = AbstractContextManager[object]

_commit = DiskStore.commit
_append = OrderLog.append
_begin = Commits.begin
_join = Intake._join
_begin_letter = KafkaDeadLetters._begin
_send = KafkaDeadLetters.send
_start = KafkaSource.start


def _unsynced_write() -> Planted:
    """The store's commit is not on the disk before the next one: a power cut takes it back."""

    def commit(store: DiskStore, meta: Meta, tasks: Mapping[str, TaskRow | None], *more: Any) -> int:
        disk = store._disk
        disk.unsynced = disk.content, disk.rows
        return _commit(store, meta, tasks, *more)

    return patch.object(DiskStore, "commit", commit)


def _commit_before_letters() -> Planted:
    """A commit sends what is refused, but does not wait until it is written."""
    return patch.object(FirstRefusals, "flush", lambda letters, _waiting=None: letters._release())


def _cut_not_logged() -> Planted:
    """What the clock closed is not written down."""

    def cut(loop: Loop) -> None:
        if loop.intake.open:
            loop._close()

    return patch.object(Loop, "_cut", cut)


def _entry_dropped() -> Planted:
    """Of several runs the order log writes all but the last."""

    def append(log: OrderLog, entries: Sequence[OrderEntry]) -> None:
        _append(log, entries[:-1] if len(entries) > 1 else entries)

    return patch.object(OrderLog, "append", append)


def _switch_not_logged() -> Planted:
    """The order log does not say who computed."""

    def append(log: OrderLog, entries: Sequence[OrderEntry]) -> None:
        _append(log, [entry for entry in entries if not isinstance(entry, Switch)])

    return patch.object(OrderLog, "append", append)


def _logged_after() -> Planted:
    """Runs are written down when they were applied."""
    apply, append = Loop._apply, OrderLog.append

    def later(loop: Loop, records: Sequence[Record]) -> None:
        kept: list[OrderEntry] = []

        def postponed(log: OrderLog, entries: Sequence[OrderEntry]) -> None:
            kept.extend(entry for entry in entries if isinstance(entry, Run))
            append(log, [entry for entry in entries if not isinstance(entry, Run)])

        with patch.object(OrderLog, "append", postponed):
            apply(loop, records)
        loop.order_log.append(kept)

    return patch.object(Loop, "_apply", later)


def _forgotten_early() -> Planted:
    """The order log forgets what a commit contains before the commit is written."""

    def begin(commits: Commits) -> None:
        _begin(commits)
        commits.order_log.forget(commits.positions)

    return patch.object(Commits, "begin", begin)


def _open_iteration_passed() -> Planted:
    """The state's positions pass what still waits in an open iteration."""

    def join(intake: Intake, taken: Any, now_seconds: float) -> None:
        _join(intake, taken, now_seconds)
        intake.ledger.positions.update(intake.taken)

    return patch.object(Intake, "_join", join)


def _markers_not_passed() -> Planted:
    """Positions are those behind the last record."""
    return patch.object(KafkaSource, "passed", lambda _self: {})


def _stale_lag() -> Planted:
    """The lag is counted to the end as of the last fetch."""

    def lag(source: KafkaSource, applied: Positions) -> Mapping[int, int]:
        marks = {p: source._reader.high_watermark(p) or 0 for p in applied}
        return {p: max(0, marks[p] - offset) for p, offset in applied.items()}

    return patch.object(KafkaSource, "lag", lag)


def _trusting_watch() -> Planted:
    """A broker that once answered counts as one that serves."""
    return patch.object(Watch, "fresh", property(lambda _self: True))


def _letter_twice() -> Planted:
    """Every letter is sent again."""

    def send(letters: KafkaDeadLetters, record: Record, refusal: Any) -> None:
        _send(letters, record, refusal)
        _send(letters, record, refusal)

    return patch.object(KafkaDeadLetters, "send", send)


def _letter_given_up() -> Planted:
    """A letter counts as written when it failed."""
    return patch.object(KafkaDeadLetters, "_mend", lambda letters, *_: letters._pending.popleft())


def _endless_wait() -> Planted:
    """A producer that does not answer is waited for without end, as the client itself would."""

    def begin(letters: KafkaDeadLetters, letter: Any) -> None:
        letters._patience_seconds = math.inf
        _begin_letter(letters, letter)

    return patch.object(KafkaDeadLetters, "_begin", begin)


def _rows_after_positions() -> Planted:
    """The store writes the meta-state, then the rows."""

    def commit(store: DiskStore, meta: Meta, tasks: Mapping[str, TaskRow | None], *more: Any) -> int:
        return _commit(store, meta, {}, *more) + _commit(store, meta, tasks)

    return patch.object(DiskStore, "commit", commit)


def _one_too_far() -> Planted:
    """A restart goes on one offset behind the state's where that holds a record."""

    def start(source: KafkaSource, positions: Positions, identity: str = "") -> Positions:
        ends = {p: offset + 1 for p, offset in positions.items()}
        begun = dict(_start(source, positions, identity))
        held = source.ends()
        for partition in [p for p in ends if positions[p] and ends[p] <= held[p]]:
            source._reader.seek(partition, ends[partition])
        return begun

    return patch.object(KafkaSource, "start", start)


def _given_up_at_once() -> Planted:
    """What the broker does not give in the first answers is passed."""
    return patch.object(withheld, "PATIENCE_SECONDS", 0.0)


def _passed_in_silence() -> Planted:
    """What the broker does not give is passed without a record that says so."""
    due = withheld.Withheld.due

    def lacking(read: reader.Reader) -> list[Record]:
        at = {place: read._consumer._subscription.position(place).offset for place in read._places.values()}
        for record in due(read._withheld, at):
            read.seek(record.partition, record.offset + 1)
        return []

    return patch.object(reader.Reader, "_lacking", lacking)


def _remade_unseen() -> Planted:
    """What comes after a time without answers counts as the topic's that it was before."""
    return patch.object(reader.Reader, "_named_anew", lambda _read: True)


def _runs_of_another() -> Planted:
    """A topic made again while runs are read is not told from the one they are of."""
    return patch.object(KafkaSource, "_became_another", lambda *_: False)


BUGS: Final[dict[str, Callable[[], Planted]]] = {
    "unsynced write": _unsynced_write,
    "commit before the letters": _commit_before_letters,
    "cut not logged": _cut_not_logged,
    "order log entry dropped": _entry_dropped,
    "executor switch not logged": _switch_not_logged,
    "runs logged after they were applied": _logged_after,
    "order log forgets before the commit": _forgotten_early,
    "position passes an open iteration": _open_iteration_passed,
    "position not passed over markers": _markers_not_passed,
    "lag from stale ends": _stale_lag,
    "health from an old answer": _trusting_watch,
    "letter sent twice": _letter_twice,
    "failed letter counts as written": _letter_given_up,
    "wait without an end": _endless_wait,
    "rows written after the positions": _rows_after_positions,
    "resume at the wrong offset": _one_too_far,
    "withheld records given up at once": _given_up_at_once,
    "withheld records passed in silence": _passed_in_silence,
    "topic made again unseen": _remade_unseen,
    "runs read from another topic": _runs_of_another,
}
"""What is planted, by name."""


def planted(bug: str) -> Planted:
    """While this lasts the runtime has it."""
    return BUGS[bug]()
