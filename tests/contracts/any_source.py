"""What every `Source` promises, also one that is no log: generated, scripted, replayed.

To enrol, subclass `AnySourceContract` and override its fixture `make`: each call gives a source over the same
records, of which at least 20 are there. `tests.contracts.source` holds what a log promises beside.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise

import pytest

from streammeta.events import Positions, Record, Run
from streammeta.stream.base import Source

Make = Callable[[], Source]


def drained(source: Source) -> list[Record]:
    """All that is there; no poll gives more than some hundreds."""
    records: list[Record] = []
    while polled := source.poll(0.01):
        assert len(polled) <= 500
        records += polled
    return records


def by_partition(records: list[Record]) -> Mapping[int, list[Record]]:
    """Each partition's records, in the order given."""
    return {p: [r for r in records if r.partition == p] for p in {r.partition for r in records}}


class AnySourceContract:
    """The promises, one test each."""

    @pytest.fixture
    def make(self) -> Make:
        """Overridden by each implementation."""
        raise NotImplementedError

    def resumed(self, source: Source, positions: Positions) -> Source:
        """Overridden where a source must be told of a state before it starts."""
        assert positions
        return source

    @pytest.fixture
    def source(self, make: Make) -> Iterator[Source]:
        """One that is closed twice at the end."""
        made = make()
        yield made
        made.close()
        made.close()

    def test_records_come_once_in_rising_order(self, source: Source) -> None:
        """Offsets of a partition rise; then the source stands behind the last one, with nothing left."""
        begun = source.start({})
        records = drained(source)
        assert len(records) >= 20
        for partition, mine in by_partition(records).items():
            assert all(one.offset < two.offset for one, two in pairwise(mine))
            assert mine[0].offset >= begun.get(partition, 0)
            assert source.positions()[partition] > mine[-1].offset
            assert source.ends()[partition] > mine[-1].offset
        assert set(source.lag(source.positions()).values()) == {0}
        assert source.poll(0.01) == []

    def test_a_restart_goes_on(self, make: Make) -> None:
        """A new source that is started at the positions of another gives what is left, in the same order."""
        whole, half = make(), make()
        whole.start({})
        half.start({})
        records, seen = drained(whole), list(half.poll(0.01))
        assert seen
        rest = self.resumed(make(), half.positions())
        rest.start(half.positions())
        assert [*seen, *drained(rest)] == records

    def test_fetch_gives_a_run_again(self, make: Make) -> None:
        """The very records that were polled; afterwards the partition stands at the run's end."""
        one, two = make(), make()
        one.start({})
        first = one.poll(0.01)[0]
        two.start({})
        run = Run(first.partition, first.offset, first.offset + 1)
        assert list(two.fetch(run)) == [first]
        assert two.positions()[first.partition] == run.end
        assert first not in drained(two)

    def test_lag_is_what_is_to_come(self, source: Source) -> None:
        """Behind the end by as many offsets; told for every partition."""
        begun = source.start({})
        before = source.lag(begun)
        assert set(before) >= set(begun)
        assert any(before.values())
        drained(source)
        assert source.lag(source.positions()) == dict.fromkeys(before, 0)

    def test_what_may_be_asked_at_any_time(self, source: Source) -> None:
        """Identity, connection, cuts, and lag tools told: none waits or fails."""
        source.start({})
        drained(source)
        assert source.identity() == source.identity()
        assert source.moved() == {}
        assert source.condition(source.positions()).serving
        assert not source.is_cut()
        assert source.replayed() in (None, 1.0)
        source.committed(source.positions())
