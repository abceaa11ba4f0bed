"""What must hold when a world has come to rest."""

import struct
from collections import Counter

import torch

from streammeta.errors import StateError
from streammeta.events import Record
from streammeta.recording.reader import Recording
from streammeta.recording.selection import ALL
from streammeta.recording.source import ReplaySource
from streammeta.state.checkpoint import Checkpoint, unpack
from streammeta.stream.kafka.letter import HEADER_PREFIX
from tests.simulator.disk import DiskStore
from tests.simulator.journal import Violation
from tests.simulator.learner import Expected, blueprint_for
from tests.simulator.stream import lethal
from tests.simulator.undisturbed import undisturbed
from tests.simulator.world import WINDOW, World, config_of


def check(world: World) -> None:
    """Each event once, the bits of an undisturbed run, every refused record a letter, positions to the end.

    Raises:
        Violation: one does not hold.
    """
    _check_records(world)
    if world.plan.recorded:
        _check_recording(world)
    store = DiskStore(world.disk)
    meta = store.load()
    assert meta is not None
    found = unpack(meta)
    _check_positions(world, found)
    if world.plan.real:
        _check_letters(world, _check_real(world, store, found))
        return
    expected = Expected(window=WINDOW if world.plan.odd else 0)
    for row in world.journal.rows:
        expected.iteration(row.records, compiled=row.compiled)
    _check_exact(store, found, expected)
    _check_letters(world, expected.letters)


def _require(ok: bool, message: str) -> None:
    if not ok:
        raise Violation(message)


def _check_records(world: World) -> None:
    """Exactly once, in each partition's order; what the log lost before it was learned from, at most once."""
    every = [record for row in world.journal.rows for record in row.records]
    applied = [record for record in every if not _withheld(record)]
    counts = Counter(record.timestamp_ms for record in applied)
    counts.update(_check_withheld(world, [record for record in every if _withheld(record)]))
    twice = [record for record in applied if counts[record.timestamp_ms] > 1]
    _require(not twice, f"applied twice: {_places(twice[:5])}")
    known = dict[int, Record]()
    for topic in world.broker.topics():
        for log in topic.logs:
            visible = list(log.records())
            known |= {record.timestamp_ms: record for record in visible}
            missing = [record for record in visible if record.timestamp_ms not in counts]
            if topic is world.broker.topic:
                _require(not missing, f"never applied: {_places(missing[:5])}")
    lost = {serial for topic in world.broker.topics() for log in topic.logs for serial in log.lost}
    if not world.plan.lossy:
        _require(lost <= set(counts), "a record that was safe to drop was never applied")
    strange = [record for record in applied if record.timestamp_ms not in known.keys() | lost]
    _require(not strange, f"applied, though never committed: {_places(strange[:5])}")
    _check_order(applied)
    passed = [record for record in applied if record.flaw is not None and record.flaw.stage != "read"]
    wrong = [record for record in passed if record.flaw and record.flaw.stage.encode() != lethal(record)]
    _require(not wrong, f"passed, though no process died of it: {_places(wrong)}")
    survived = [record for record in applied if lethal(record) and record.flaw is None]
    _require(not survived, f"learned from, though it kills: {_places(survived)}")


def _withheld(record: Record) -> bool:
    return record.flaw is not None and record.flaw.damaged


def _check_withheld(world: World, passed: list[Record]) -> list[int]:
    """What the broker will never give is passed once, and nothing else; the numbers of those records."""
    places = Counter((record.partition, record.offset) for record in passed)
    early = [record for record in passed if (record.partition, record.offset) not in world.damaged]
    _require(not early, f"given up, though it came later: {_places(early[:5])}")
    _require(places.keys() == world.damaged.keys(), f"damaged: {world.damaged}, passed: {dict(places)}")
    _require(all(count == 1 for count in places.values()), f"passed more than once: {places}")
    return [number for number in world.damaged.values() if number >= 0]


def _check_recording(world: World) -> None:
    """What the state contains, in its order, and no more."""
    source = ReplaySource(Recording(world.recording), ALL)
    source.start({})
    recorded: list[Record] = []
    while records := source.poll(0.1):
        recorded += records
    source.close()
    applied = [record for row in world.journal.rows for record in row.records]
    _require(recorded == applied, f"{len(recorded)} records are recorded, {len(applied)} applied")


def _check_order(applied: list[Record]) -> None:
    """The numbers of records rise with the offsets of their partition, also in a topic made again."""
    last = dict[int, int]()
    for record in applied:
        before = last.get(record.partition, -1)
        _require(record.timestamp_ms > before, f"out of order: {_places([record])}")
        last[record.partition] = record.timestamp_ms


def _places(records: list[Record]) -> str:
    return ", ".join(f"{r.partition}/{r.offset} (number {r.timestamp_ms % 100_000})" for r in records)


def _check_positions(world: World, found: Checkpoint) -> None:
    """Every partition is read to its end, markers and all, and lag tools know it."""
    ends = {partition: log.end for partition, log in enumerate(world.broker.topic.logs)}
    _require(dict(found.positions) == ends, f"positions {dict(found.positions)}, ends {ends}")
    _require(world.broker.committed == ends, f"the group stands at {world.broker.committed}, not at {ends}")


def _check_exact(store: DiskStore, found: Checkpoint, expected: Expected) -> None:
    """The numbers that plain Python comes to."""
    _require(found.state.params.tolist() == expected.w, "other meta-parameters than an undisturbed run")
    _require(found.state.outer["momentum"].tolist() == expected.momentum, "another outer state")
    _require(found.progress.events == expected.events, "another number of events")
    _require(dict(found.refused) == expected.refused, f"refused {found.refused}, not {expected.refused}")
    tasks = {task: stats.events for task, stats in store.stats()}
    _require(tasks == expected.visits, f"events of tasks {tasks}, not {expected.visits}")
    for task in expected.visits:
        row, number = store.get(task), expected.memories.get(task)
        assert row is not None
        memory = b"" if number is None else struct.pack("<d", number)
        _require(row.memory == memory, f"another memory of {task}")


def _check_real(world: World, store: DiskStore, found: Checkpoint) -> list[Record]:
    """The bits of the real engine undisturbed; the records that it refused."""
    config = config_of(world.plan, "earliest")
    rows = [row.records for row in world.journal.rows]
    engine, refused = undisturbed(config, blueprint_for(config, real=True), rows)
    _require(torch.equal(found.state.params, engine.state.params), "other meta-parameters")
    _require(torch.equal(found.state.outer["momentum"], engine.state.outer["momentum"]), "another momentum")
    _require(repr(found.progress) == repr(engine.progress), "other prequential losses")
    tasks = {record.key.decode() for row in rows for record in row if record.key is not None}
    for task in sorted(tasks):
        row, entry = store.get(task), engine.memories.get(task)
        if row is None:
            _require(not entry.stats.events, f"no memory of {task}")
        else:
            memory = entry.memory.numpy().tobytes() if entry.stats.remembered else b""
            _require(row.memory == memory, f"another memory of {task}")
            alike = repr(row.stats._replace(memory_norm=0.0)) == repr(entry.stats._replace(memory_norm=0.0))
            _require(alike, f"other statistics of {task}")
    return [record for record, _ in refused]


def _check_letters(world: World, refused: list[Record]) -> None:
    """Each refused record is a letter, byte for byte; others are none; twice only where something broke."""
    wanted = Counter(_content(record) for record in refused)
    found = Counter(_content(letter) for letter in world.broker.letters)
    missing = [record for record in refused if found[_content(record)] < wanted[_content(record)]]
    _require(not missing, f"no letter: {_places(missing[:5])}")
    if world.plan.lossy:
        return
    _require(set(found) <= set(wanted), "a letter of a record that was not refused")
    most = 1 + world.deaths + world.broker.unanswered
    often = {content: count for content, count in found.items() if count > most * wanted[content]}
    _require(not often, f"a letter was written {max(often.values(), default=0)} times, {most} may be")


def _content(record: Record) -> tuple[object, ...]:
    """What came from the source: key, value (a letter has an empty one for none), its headers."""
    own = tuple(header for header in record.headers if not header[0].startswith(HEADER_PREFIX))
    return record.key, record.value or b"", own


def readable(world: World) -> bool:
    """Whether all of the state can be read; damage that nothing met is found here."""
    try:
        store = DiskStore(world.disk)
        store.load()
        return all(store.get(task) is not None for task, _ in store.stats()) and world.disk.sound
    except StateError:
        return False
