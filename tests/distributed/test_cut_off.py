"""Four ranks in four network namespaces, of which one is cut off within a round."""

import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from streammeta.stream.embedded import broker as embedded_
from streammeta.stream.embedded.broker import EmbeddedBroker
from tests.brokers.broker import Broker
from tests.distributed.groups import read
from tests.distributed.launcher import Launcher
from tests.distributed.namespaces import Network, absence, network
from tests.distributed.stream import ordered, put
from tests.end_to_end.program import wait_until

CUT_SECONDS = 30.0 if "RANKS_KILLS" in os.environ else 1.0
"""At least; `make ranks` cuts longer."""
TIMEOUT_SECONDS = 15.0
"""Of the group; on a busy machine ranks come together that late."""
PATIENCE_SECONDS = 120.0
WORLD = 4
EACH = 200
"""Records of a partition."""


@pytest.fixture
def four() -> Iterator[Network]:
    """The namespaces."""
    if reason := absence():
        pytest.skip(reason)
    with network(WORLD) as made:
        yield made


@pytest.fixture
def broker(four: Network, monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    """The embedded one, at an address that all namespaces reach."""
    monkeypatch.setattr(embedded_, "HOST", four.bridge)
    with EmbeddedBroker() as made:
        client = Broker(made.bootstrap_servers)
        yield client
        client.close()


def test_a_rank_that_is_cut_off_is_told_and_all_go_on_afterwards(
    four: Network, broker: Broker, tmp_path: Path
) -> None:
    """The others name it, it says that it lost them, all exit 69; then all go on, each record counts once."""
    records, topic = ordered(WORLD, 8, EACH), broker.create("cut-off", 8)
    put(broker, topic, dict(enumerate(records)))
    settings = {
        "kafka.bootstrap_servers": broker.bootstrap_servers,
        "kafka.topic": topic,
        "model.args": "{sizes = [1, 8, 1]}",
        "distributed.round_events": 10,
        "distributed.timeout_seconds": TIMEOUT_SECONDS,
        "log.format": "json",
    }
    with Launcher(tmp_path / "state", settings, WORLD, enter=four.enter) as group:
        group.start("--until-end")
        wait_until(lambda: group.closed(2) >= 3 or group.over(), group.said)
        assert not group.over(), group.said()
        four.cut(2)
        cut_at = time.monotonic()
        assert group.codes(PATIENCE_SECONDS) == [69] * WORLD, group.said()
        assert any("rank 2 gave no sign of life" in group.log(rank).read_text() for rank in (0, 1, 3))
        assert "rank 2 lost the group" in group.log(2).read_text()
        assert group.closed(2) < 2 * EACH // 10
        left_seconds = CUT_SECONDS - (time.monotonic() - cut_at)
        time.sleep(max(0.0, left_seconds))  # what is tested is a cut of that length
        four.mend(2)
        group.run_to_end()
        assert [
            Counter({task: row.stats.events for task, row in held.rows.items()}) for held in read(group.state)
        ] == [Counter(one.task for of in records[rank::WORLD] for one in of) for rank in range(WORLD)]
