"""What every `Source` promises. To enrol, subclass `SourceContract` and override its fixture `world`."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import pytest

from streammeta.errors import LostOffsets
from streammeta.events import Positions, Record, Run
from streammeta.stream.base import Source
from tests.brokers.broker import eventually


class World(Protocol):
    """A log of four partitions and what happens to it. `can` tells which of the last three it knows."""

    can: frozenset[str]

    def source(self, start: str = "earliest", on_lost_offsets: str = "fail") -> Source:
        """A new source over the log."""

    def write(self, values: Sequence[bytes], partition: int) -> None:
        """Append records to a partition."""

    def grow(self) -> int:
        """Add a partition; its number."""

    def expire(self, partition: int, before: int) -> None:
        """Drop the records of a partition below an offset."""

    def empty(self) -> None:
        """Replace the log with an empty one."""


def drain(source: Source, positions: Positions) -> list[Record]:
    """Poll until every partition named stands at its position."""
    records: list[Record] = []

    def arrived() -> bool:
        records.extend(source.poll(0.1))
        now = source.positions()
        return all(now.get(partition) == position for partition, position in positions.items())

    eventually(arrived)
    return records


def polled(source: Source, count: int) -> list[Sequence[Record]]:
    """What the polls gave until `count` records had come."""
    polls: list[Sequence[Record]] = []

    def enough() -> bool:
        polls.append(source.poll(0.1))
        return sum(len(poll) for poll in polls) >= count

    eventually(enough)
    return polls


def followed(source: Source, count: int) -> tuple[list[Record], Positions]:
    """`count` records of a topic made anew, and where `moved` said that it begins: none came before that."""
    moved, records = dict[int, int](), list[Record]()

    def arrived() -> bool:
        now = source.poll(0.1)
        moved.update(source.moved())
        assert moved or not now
        records.extend(now)
        return len(records) >= count

    eventually(arrived)
    return records, moved


def values(prefix: str, count: int) -> list[bytes]:
    """Distinct record values."""
    return [f"{prefix}-{i}".encode() for i in range(count)]


class SourceContract:
    """The promises, one test each."""

    @pytest.fixture
    def world(self) -> World:
        """Overridden by each implementation."""
        raise NotImplementedError

    @pytest.fixture
    def open_source(self, world: World) -> Iterator[Callable[..., Source]]:
        """Makes sources that are closed at the end, twice: `close` may be called again."""
        opened: list[Source] = []

        def make(**options: Any) -> Source:
            opened.append(world.source(**options))
            return opened[-1]

        yield make
        for source in opened:
            source.close()
            source.close()

    def test_records_come_once_in_rising_order(
        self, world: World, open_source: Callable[..., Source]
    ) -> None:
        """Each record comes once, untouched, and the offsets of a partition rise without a gap."""
        for partition in range(4):
            world.write(values(f"p{partition}", 300 + partition), partition)
        source = open_source()
        assert source.start({}) == {0: 0, 1: 0, 2: 0, 3: 0}
        records = drain(source, {0: 300, 1: 301, 2: 302, 3: 303})
        for partition in range(4):
            mine = [r for r in records if r.partition == partition]
            assert [r.offset for r in mine] == list(range(300 + partition))
            assert [r.value for r in mine] == values(f"p{partition}", 300 + partition)
        assert {r.key for r in records if r.partition == 2} == {b"task-2"}
        assert records[0].headers == (("ce_id", b"\x00\xff"),)
        assert all(r.timestamp_ms == 5_000 + r.offset for r in records)

    def test_a_poll_is_bounded(self, world: World, open_source: Callable[..., Source]) -> None:
        """No poll gives more than some hundreds, however much is there."""
        world.write(values("x", 1500), 0)
        source = open_source()
        source.start({})
        polls = polled(source, 1500)
        assert sum(len(poll) for poll in polls) == 1500
        assert max(len(poll) for poll in polls) <= 500

    def test_fetch_gives_a_run_again(self, world: World, open_source: Callable[..., Source]) -> None:
        """A run gives the same records again, leaves its partition at its end, costs the others nothing."""
        world.write(values("a", 900), 0)
        world.write(values("b", 900), 1)
        source = open_source()
        source.start({})
        polled(source, 500)
        for run in (Run(0, 10, 700), Run(1, 0, 5), Run(0, 700, 701), Run(1, 5, 900)):
            again = source.fetch(run)
            assert [(r.partition, r.offset) for r in again] == [
                (run.partition, o) for o in range(run.first, run.end)
            ]
            assert source.positions()[run.partition] == run.end
        rest = drain(source, {0: 900, 1: 900})
        assert [r.offset for r in rest if r.partition == 0] == list(range(701, 900))
        assert [r for r in rest if r.partition == 1] == []

    def test_start_honours_positions(self, world: World, open_source: Callable[..., Source]) -> None:
        """A source begins where the state says; a partition that it lacks begins at its first offset."""
        world.write(values("a", 20), 0)
        world.write(values("b", 5), 3)
        source = open_source(start="latest")
        assert source.start({0: 12, 1: 0, 2: 0}) == {0: 12, 1: 0, 2: 0, 3: 0}
        records = drain(source, {0: 20, 3: 5})
        assert sorted((r.partition, r.offset) for r in records) == [
            *((0, o) for o in range(12, 20)),
            *((3, o) for o in range(5)),
        ]

    def test_a_new_state_begins_as_configured(self, world: World, open_source: Callable[..., Source]) -> None:
        """Without positions, "latest" begins at the end: what was there before is not seen."""
        world.write(values("old", 30), 1)
        source = open_source(start="latest")
        assert source.start({}) == {0: 0, 1: 30, 2: 0, 3: 0}
        world.write([b"new"], 1)
        assert [r.value for r in drain(source, {1: 31})] == [b"new"]

    def test_ends_and_lag(self, world: World, open_source: Callable[..., Source]) -> None:
        """Ends are exact, for empty partitions and for batches of several records; lag falls to nothing."""
        world.write(values("a", 7), 0)
        world.write(values("b", 1), 2)
        source = open_source()
        source.start({2: 1})
        assert source.ends() == {0: 7, 1: 0, 2: 1, 3: 0}
        assert source.lag({0: 0, 1: 0, 2: 1, 3: 0}) == {0: 7, 1: 0, 2: 0, 3: 0}
        drain(source, {0: 7})
        assert source.lag(source.positions()) == {0: 0, 1: 0, 2: 0, 3: 0}
        assert source.lag({0: 4, 1: 0, 2: 1, 3: 0})[0] == 3, "lag counts from what was applied"
        world.write(values("c", 3), 3)
        assert source.ends() == {0: 7, 1: 0, 2: 1, 3: 3}
        assert source.condition(source.positions()).service == "served"

    def test_a_new_partition_is_picked_up(self, world: World, open_source: Callable[..., Source]) -> None:
        """A partition that appears while running is read from its first record."""
        if "grow" not in world.can:
            pytest.skip("this log never gains a partition")
        source = open_source(start="latest")
        source.start({})
        partition = world.grow()
        world.write(values("n", 3), partition)
        assert [r.value for r in drain(source, {partition: 3})] == values("n", 3)
        assert source.lag(source.positions())[partition] == 0

    def test_expired_offsets_are_named(self, world: World, open_source: Callable[..., Source]) -> None:
        """A position below the log's first offset is told with what was wanted and what is held."""
        self._need(world, "expire")
        world.write(values("a", 20), 0)
        world.expire(0, 15)
        with pytest.raises(LostOffsets, match=r"partition 0.*offset 4 .*15 up to 20.*on_lost_offsets"):
            open_source().start({0: 4})
        assert open_source(on_lost_offsets="earliest").start({0: 4})[0] == 15
        assert open_source(on_lost_offsets="latest").start({0: 4})[0] == 20

    def test_offsets_that_expire_while_running(
        self, world: World, open_source: Callable[..., Source]
    ) -> None:
        """The same while running: named, or gone past as configured."""
        self._need(world, "expire")
        careful, patient = open_source(), open_source(on_lost_offsets="earliest")
        careful.start({})
        patient.start({})
        world.write(values("a", 20), 0)
        world.expire(0, 15)
        assert [r.offset for r in drain(patient, {0: 20})] == list(range(15, 20))
        with pytest.raises(LostOffsets, match=r"offset 0 .*15 up to 20"):
            drain(careful, {0: 20})

    def test_a_run_that_expired(self, world: World, open_source: Callable[..., Source]) -> None:
        """Of a logged run what the log lost is absent where the configuration allows, else named."""
        self._need(world, "expire")
        world.write(values("a", 20), 0)
        world.expire(0, 15)
        patient = open_source(on_lost_offsets="earliest")
        patient.start({0: 18})
        assert [r.offset for r in patient.fetch(Run(0, 3, 18))] == [15, 16, 17]
        assert patient.positions()[0] == 18
        careful = open_source()
        careful.start({0: 18})
        with pytest.raises(LostOffsets, match=r"offset 3 .*15 up to 20"):
            careful.fetch(Run(0, 3, 18))

    def test_an_emptied_log_is_named(self, world: World, open_source: Callable[..., Source]) -> None:
        """A position beyond the end (the log was truncated or made anew) is lost, not waited for."""
        self._need(world, "empty")
        world.write(values("a", 20), 0)
        world.empty()
        with pytest.raises(LostOffsets, match=r"offset 9 .*0 up to 0.*re-created"):
            open_source().start({0: 9})
        assert open_source(on_lost_offsets="latest").start({0: 9})[0] == 0

    def test_a_topic_made_anew_is_another(self, world: World, open_source: Callable[..., Source]) -> None:
        """Positions of a topic are none of the next one of its name, also where that holds more records."""
        self._need(world, "empty")
        world.write(values("old", 5), 0)
        first = open_source()
        first.start({})
        identity = first.identity()
        if not identity:
            pytest.skip("this broker gives topics no identity")
        assert open_source().start({0: 5}, identity)[0] == 5
        world.empty()
        world.write(values("new", 20), 0)
        assert open_source().start({0: 5})[0] == 5
        with pytest.raises(LostOffsets, match=rf"re-created.*{identity}.*state\.dir.*on_lost_offsets"):
            open_source().start({0: 5}, identity)
        again = open_source(on_lost_offsets="earliest")
        assert again.start({0: 5, 1: 0, 2: 0, 3: 0}, identity) == {0: 0, 1: 0, 2: 0, 3: 0}
        assert again.identity() not in ("", identity)
        assert open_source(on_lost_offsets="latest").start({0: 5}, identity)[0] == 20

    def test_a_topic_made_anew_while_running(self, world: World, open_source: Callable[..., Source]) -> None:
        """Named, or begun again, which `moved` tells before the records come."""
        self._need(world, "empty")
        careful, patient = open_source(), open_source(on_lost_offsets="earliest")
        for source in (careful, patient):
            source.start({})
        world.write(values("old", 20), 0)
        for source in (careful, patient):
            drain(source, {0: 20})
            assert source.moved() == {}
        identity = patient.identity()
        world.empty()
        world.write(values("new", 5), 0)
        records, moved = followed(patient, 5)
        assert [r.value for r in records] == values("new", 5)
        assert moved[0] == 0
        if identity:
            assert moved == {0: 0, 1: 0, 2: 0, 3: 0}
            assert patient.identity() != identity
        with pytest.raises(LostOffsets, match=r"re-created"):
            eventually(lambda: careful.poll(0.1))

    @pytest.mark.parametrize("allowed", [True, False])
    def test_a_run_of_a_topic_made_anew(
        self, world: World, open_source: Callable[..., Source], *, allowed: bool
    ) -> None:
        """What is logged of the old topic is not read from the new one, which has the same offsets."""
        self._need(world, "empty")
        world.write(values("old", 5), 0)
        source = open_source(on_lost_offsets="earliest") if allowed else open_source()
        source.start({0: 3})
        if not (identity := source.identity()):
            pytest.skip("this broker gives topics no identity")
        world.empty()
        world.write(values("new", 20), 0)
        if not allowed:
            with pytest.raises(LostOffsets, match=r"re-created"):
                source.fetch(Run(0, 1, 3))
            return
        assert not source.fetch(Run(0, 1, 3))
        assert source.identity() not in ("", identity)
        records = drain(source, {0: 20})
        assert source.moved() == {0: 0, 1: 0, 2: 0, 3: 0}
        assert [r.value for r in records] == values("new", 20)

    def _need(self, world: World, ability: str) -> None:
        if ability not in world.can:
            pytest.skip(f"this log cannot {ability}")
