"""A real Prometheus scrapes a real daemon: what is shown has data, alerts fire in staged faults and clear."""

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import pytest
from kafka import TopicPartition
from kafka.protocol.consumer.offsets import OffsetSpec

from streammeta.codec import CONTENT_TYPE, MSGPACK, encode_msgpack
from streammeta.events import episode_of
from streammeta.observe.catalogue import CATALOGUE
from streammeta.observe.learners import FAMILIES
from streammeta.observe.round_metrics import ROUND_SPECS
from streammeta.stream.embedded.broker import EmbeddedBroker, broker_available
from tests.brokers.broker import Broker, fresh
from tests.brokers.conftest import collect_sockets
from tests.deploy.expressions import (
    annotation_expressions,
    exposed,
    names,
    panel_expressions,
    rule_expressions,
)
from tests.deploy.prometheus import Prometheus, available, quickened
from tests.end_to_end.program import Daemon, running, wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not available(), reason="Prometheus (package prometheus) is not installed"),
    pytest.mark.skipif(not broker_available(), reason="no embedded broker for this platform"),
    pytest.mark.filterwarnings(
        "ignore:unclosed <socket:ResourceWarning"
    ),  # kafka-python, of a refused connection
]

TOPIC = "tasks"
NEVER = 10**6
OLD_CHECKPOINT = "instance:streammeta_checkpoint_age_seconds > 8"
FRESH_CHECKPOINT = "instance:streammeta_checkpoint_age_seconds < 4"
SETTINGS = {"kafka.topic": TOPIC, "state.checkpoint_seconds": NEVER, "state.checkpoint_events": NEVER}
OF_CLASSIFIERS = {"streammeta_prequential_accuracy"}
"""Metrics that a regression has not."""
OF_GROUPS = {spec.name + part for spec in ROUND_SPECS for part in ("", "_bucket", "_sum", "_count")}
"""Absent, or counters at 0, where one process learns alone."""
OF_CHAMPIONS = {name + part for name in FAMILIES for part in ("", "_total")}
"""Absent where nothing learns beside."""
ABSENT = OF_CLASSIFIERS | OF_GROUPS | OF_CHAMPIONS
FLOOD_PER_SECOND = 3000
"""Events, more than the learner takes."""
BACKLOG = "instance:streammeta_kafka_lag_records:sum > 2000"


class Scene(NamedTuple):
    """What is on stage."""

    broker: Broker
    broker_process: psutil.Process
    daemon: Daemon
    prometheus: Prometheus

    @contextmanager
    def produce(self, *options: object) -> Iterator[None]:
        """Meanwhile `streammeta produce sinusoid`, of 30 tasks, writes to the topic."""
        target = ["--bootstrap-servers", self.broker.bootstrap_servers, "--topic", TOPIC, "--tasks", 30]
        with running("produce", "sinusoid", *target, *options):
            yield

    def poison(self) -> None:
        """Records that cannot be used: no JSON, and NaN."""
        nan, number = np.full((2, 1), np.nan, np.float32), np.ones((2, 1), np.float32)
        value = encode_msgpack(episode_of(nan, number, number, number))
        self.broker.write(TOPIC, [b"{"] * 5)
        sent = self.broker.producer.send(TOPIC, value, b"task-0", [(CONTENT_TYPE, MSGPACK.encode())])
        sent.get(timeout=120)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Broker, daemon, Prometheus, and a producer of 25 events a second."""
    folder = tmp_path_factory.mktemp("prometheus")
    with ExitStack() as stack:
        embedded = stack.enter_context(EmbeddedBroker())
        broker = Broker(embedded.bootstrap_servers)
        stack.callback(collect_sockets)
        stack.callback(broker.close)
        broker.create(TOPIC)
        settings = {**SETTINGS, "kafka.bootstrap_servers": broker.bootstrap_servers}
        daemon = stack.enter_context(Daemon(folder / "state", settings))
        daemon.start()
        prometheus = stack.enter_context(Prometheus(folder, daemon.port))
        stage = Scene(broker, _broker_process(broker), daemon, prometheus)
        stack.enter_context(stage.produce("--rate", 25))
        yield stage


def _broker_process(broker: Broker) -> psutil.Process:
    """The process that listens at the broker's port."""
    port = int(broker.bootstrap_servers.rpartition(":")[2])
    (process,) = (
        child
        for child in psutil.Process().children(recursive=True)
        if any(c.laddr.port == port and c.status == psutil.CONN_LISTEN for c in child.net_connections())
    )
    return process


def test_rules_are_quickened() -> None:
    """Durations and bounds on seconds; nothing else."""
    rule = 'deriv(a:b:sum[10m]) > 0 and a:b_seconds:rate5m > 60 or c_seconds > 300 for: 2m c{p="x"} offset 1h'
    assert quickened(rule, 100) == (
        'deriv(a:b:sum[6000ms]) > 0 and a:b_seconds:rate5m > 0.6 or c_seconds > 3.0 for: 1200ms c{p="x"} '
        "offset 36000ms"
    )


def test_everything_shown_has_data(scene: Scene) -> None:
    """Each query of each panel, and each recording rule, gives a number for the running daemon."""
    scene.daemon.wait_for_events(1)
    rules = [one._replace(promql=quickened(one.promql)) for one in rule_expressions() if ":" in one.where]
    empty = [
        *(one for one in panel_expressions() if not names(one.promql) & ABSENT),
        *rules,
    ]

    def none_left() -> bool:
        scene.daemon.send(signal.SIGUSR1)  # a checkpoint, so that there is a duration to take quantiles of
        empty[:] = [one for one in empty if not _numbers(scene.prometheus, one.promql)]
        return not empty

    wait_until(none_left, empty, every_seconds=1.0)


def test_what_is_shown_of_classifiers_has_data(scene: Scene, tmp_path: Path) -> None:
    """Accuracies, and records that wait, of a daemon that cuts episodes from rows."""
    rows = [f"{row % 7},{row % 3},{row % 2}" for row in range(5000)]
    (tmp_path / "rows.csv").write_text("\n".join(["who,x,class", *rows]))
    settings = {
        "kafka.bootstrap_servers": scene.broker.bootstrap_servers,
        "kafka.topic": scene.broker.create("rows"),
        "model.args": "{sizes = [1, 2]}",
        "model.loss": "cross_entropy",
        "events.kind": "examples",
        "events.support": 2,
        "events.query": 2,
    }
    columns = ["--task", "who", "--features", "x", "--target", "class", "--classes", "--rate", 100]
    where = ["--bootstrap-servers", scene.broker.bootstrap_servers, "--topic", "rows"]
    accuracy = [one for one in panel_expressions() if names(one.promql) & OF_CLASSIFIERS]
    moving = ["streammeta_prequential_accuracy", 'rate(streammeta_events_total{outcome="skipped"}[5s]) > 0']
    assert accuracy
    with (
        Daemon(tmp_path / "state", settings) as daemon,
        Prometheus(tmp_path, daemon.port) as prometheus,
        running("produce", "table", tmp_path / "rows.csv", *columns, *where),
    ):
        daemon.start()
        for promql in (*(one.promql for one in accuracy), *moving):
            wait_until(partial(_has_data, prometheus, promql), promql, every_seconds=0.1)


def _has_data(prometheus: Prometheus, promql: str) -> bool:
    return bool(_numbers(prometheus, promql))


def _numbers(prometheus: Prometheus, promql: str) -> list[float]:
    values = [float(sample["value"][1]) for sample in prometheus.query(promql)]
    return [value for value in values if not np.isnan(value)]


def test_every_metric_of_the_catalogue_is_exposed(scene: Scene) -> None:
    """Prometheus has scraped each, under the bound of 550 series."""
    expected = exposed() - ABSENT
    wait_until(lambda: expected <= scene.prometheus.names(), "all metrics", every_seconds=0.2)
    ours = {name for name in scene.prometheus.names() if name.startswith("streammeta_")}
    assert ours - OF_GROUPS == expected
    assert len(CATALOGUE) <= len(ours)
    (scraped,) = _numbers(scene.prometheus, 'max_over_time(scrape_samples_scraped{job="streammeta"}[10m])')
    assert 100 < scraped < 550


def test_alerts_fire_in_faults_and_clear(scene: Scene) -> None:
    """Overdue checkpoint, poison, noise, hanging broker, crash: each is told, and over in the end."""
    prometheus, daemon = scene.prometheus, scene.daemon
    prometheus.wait_for("CheckpointStale")
    daemon.send(signal.SIGUSR1)
    prometheus.wait_for("CheckpointStale", firing=False)

    with scene.produce("--noise", 8, "--rate", 50):
        scene.poison()
        for alert in ("NonFinite: input", "DeadLetters: undecodable", "LossDiverging"):
            prometheus.wait_for(alert)
    assert all(prometheus.query(one.promql) for one in annotation_expressions())

    scene.broker_process.suspend()
    try:
        prometheus.wait_for("Stalled: no broker answers")
    finally:
        scene.broker_process.resume()
    for alert in (
        "Stalled: no broker answers",
        "NonFinite: input",
        "DeadLetters: undecodable",
        "LossDiverging",
    ):
        prometheus.wait_for(alert, firing=False)

    with scene.produce():
        wait_until(lambda: _numbers(prometheus, BACKLOG) != [], "a backlog, so that the learner is busy")
        daemon.send(signal.SIGUSR1)
        wait_until(lambda: _numbers(prometheus, FRESH_CHECKPOINT) != [], "the checkpoint")
        wait_until(lambda: _numbers(prometheus, OLD_CHECKPOINT) != [], "events enough for a slow restore")
    daemon.send(signal.SIGKILL)
    daemon.wait()
    prometheus.wait_for("Stalled: the daemon does not answer")
    daemon.start()
    prometheus.wait_for("RestoreSlow")
    for alert in ("RestoreSlow", "Stalled: the daemon does not answer"):
        prometheus.wait_for(alert, firing=False)


@pytest.mark.kafka
def test_growing_lag_fires_and_clears(kafka_broker: Broker, tmp_path: Path) -> None:
    """A producer that is faster than the learner, until it stops: alert and banner tell, lag is the broker's.

    The learner works at its first fetches of 8 MiB all the while; what it shows is true within 5 s.
    """
    topic = kafka_broker.create(fresh("flood"), 1)
    settings = {
        "kafka.bootstrap_servers": kafka_broker.bootstrap_servers,
        "kafka.topic": topic,
    }
    where = ["--bootstrap-servers", kafka_broker.bootstrap_servers, "--topic", topic, "--tasks", 30]
    with Daemon(tmp_path / "state", settings) as daemon, Prometheus(tmp_path, daemon.port) as prometheus:
        daemon.start()
        with running("produce", "sinusoid", *where, "--rate", FLOOD_PER_SECOND):
            prometheus.wait_for("LagGrowing")
            wait_until(lambda: '"lag_growing"' in daemon.get("/api/v1/status")[1], "the banner tells")
            end, shown = _end(kafka_broker, topic), _lag_and_position(daemon)
            assert shown[0] + shown[1] >= end - 10 * FLOOD_PER_SECOND
            assert shown[0] > 0.5 * end, "most of the flood waits"
        prometheus.wait_for("LagGrowing", firing=False)


def _end(broker: Broker, topic: str) -> int:
    place = TopicPartition(topic, 0)
    found: int = broker.admin.list_partition_offsets({place: OffsetSpec.LATEST})[place].offset
    return found


def _lag_and_position(daemon: Daemon) -> tuple[int, int]:
    status = json.loads(daemon.get("/api/v1/status")[1])
    return status["lag"]["total"], sum(status["outcomes"].values())
