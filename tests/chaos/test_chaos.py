"""The plans, and the short form of `make chaos` in the gate."""

from collections import Counter
from pathlib import Path

import pytest

from tests.brokers.broker import absence
from tests.brokers.conftest import LEAKED
from tests.chaos.plan import LONG, SHORT, blocks, deeds
from tests.chaos.run import run
from tests.chaos.stream import record


def test_a_plan_is_its_seed() -> None:
    """100 kills, 5 kills and 5 freezes of the broker, 50 cuts, a rotation; another seed is another."""
    plan = deeds(LONG, 3)
    assert plan == deeds(LONG, 3) != deeds(LONG, 4)
    assert plan == sorted(plan)
    counts = Counter("kill" if deed.what.startswith("kill") else deed.what for deed in plan)
    assert counts == {"kill": 100, "broker killed": 5, "broker frozen": 5, "cut": 50, "rotation": 1}
    assert all(10 <= deed.seconds <= 60 for deed in plan if deed.what == "broker frozen")
    assert {deed.what for deed in plan} >= {"kill in a checkpoint", "kill at the start", "kill at a switch"}


def test_a_stream_is_its_seed() -> None:
    """Blocks cover every record once, some aborted; 2 % of the records are poison, of every kind."""
    covered = [number for block in blocks(LONG, 3) for number in range(block.first, block.end)]
    assert covered == [*range(LONG.records)]
    assert Counter(block.how for block in blocks(LONG, 3))["aborted"] == LONG.transactions // 2
    records = [record(LONG, 3, number) for number in range(4_000)]
    assert records[99] == record(LONG, 3, 99) != record(LONG, 3, 99, again=True)
    assert 0.01 < sum(one.poison for one in records) / len(records) < 0.03


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.skipif(bool(absence()), reason=absence())
@pytest.mark.filterwarnings(f"ignore:{LEAKED}:ResourceWarning")
def test_a_short_plan(tmp_path: Path) -> None:
    """Kills, a broker killed and one frozen, cuts, a rotation, aborted transactions: all holds."""
    figures = run(tmp_path, SHORT, seed=1)
    assert figures["connections cut"] > 0
    assert figures["distance"] > 0, "float64 by two ways is never the same number everywhere"
