"""What a federation adds to the daemon's metrics: rounds, who dropped out of them, bytes, test losses."""

import math
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, get_args

import numpy as np
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from streammeta.federated.calling import Called, Missed
from streammeta.observe.buckets import Buckets
from streammeta.observe.catalogue import PHASES, Spec

OUTCOMES: Final = ("answered", *get_args(Missed))
GROUPS: Final = ("known", "unseen")
_ROUND = Spec(
    "streammeta_federated_round_seconds",
    "histogram",
    (),
    "Time of a round, from the first message to the last answer or the deadline.",
    (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0),
)


class Figures(NamedTuple):
    """Means over a group of clients, of their own test sets; NaN where nothing is known.

    Attributes:
        clients: How many answered.
        meta, adapted, memory: Loss at w, at w personalised, at the memory.
        accuracy_meta, accuracy_adapted, accuracy_memory: Likewise, of classifiers.
    """

    clients: int
    meta: float
    adapted: float
    memory: float
    accuracy_meta: float
    accuracy_adapted: float
    accuracy_memory: float

    @classmethod
    def of(cls, measured: Iterable[Mapping[str, float]]) -> "Figures":
        """The means over these clients; one that does not know a value does not count in it."""
        rows = [*measured]
        kinds = (("loss", phase) for phase in PHASES), (("accuracy", phase) for phase in PHASES)
        names = [f"{kind}_{phase}" for pairs in kinds for kind, phase in pairs]
        return cls(len(rows), *(_mean(row.get(name, math.nan) for row in rows) for name in names))


class FederatedMetrics(Collector):
    """Counts rounds on `registry`; written by the server's thread, read by others."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._rounds = Counter(
            "streammeta_federated_rounds_total",
            "Rounds that ended, since the start of the process.",
            registry=registry,
        )
        clients = Counter(
            "streammeta_federated_clients_total",
            "Clients asked for a round: answered; raised (failed); sent what cannot be used (refused); did "
            "not answer in time (vanished).",
            ["outcome"],
            registry=registry,
        )
        self._clients = {outcome: clients.labels(outcome) for outcome in OUTCOMES}
        sizes = Counter(
            "streammeta_federated_bytes_total",
            "Bytes of the parameters in messages, sent to clients and received from them.",
            ["direction"],
            registry=registry,
        )
        self._sent, self._received = sizes.labels("sent"), sizes.labels("received")
        self._seconds = Buckets(_ROUND, registry)
        self._nodes: dict[str, int] = {}
        self._figures: dict[str, Figures] = {}
        registry.register(self)

    def round_ended(self, called: Called, seconds: float) -> None:
        """Count a round."""
        self._rounds.inc()
        self._clients["answered"].inc(len(called.answers))
        for drop in called.dropped:
            self._clients[drop.missed].inc()
        self._sent.inc(called.sent_bytes)
        self._received.inc(sum(answer.size_bytes for answer in called.answers))
        self._seconds.observe(np.array([seconds]))

    def nodes_are(self, training: int, testing: int) -> None:
        """Tell who is there."""
        self._nodes = {"training": training, "testing": testing}

    def tested(self, figures: Mapping[str, Figures]) -> None:
        """Tell the last test losses, by group."""
        self._figures = dict(figures)

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """The gauges without samples."""
        return [
            GaugeMetricFamily(
                "streammeta_federated_nodes", "Clients that are there, by what they do.", labels=["role"]
            ),
            GaugeMetricFamily(
                "streammeta_federated_test_loss",
                "Mean loss on clients' own test sets when last measured: of those that take part (known) and "
                "that never do (unseen), at w (meta), at w personalised (adapted), at their memory (memory).",
                labels=["clients", "phase"],
            ),
        ]

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The gauges as they are; what is not known is absent."""
        nodes, losses = self.describe()
        for role, count in self._nodes.items():
            nodes.add_metric([role], count)
        for group, figures in self._figures.items():
            for phase in PHASES:
                value = getattr(figures, phase)
                if not math.isnan(value):
                    losses.add_metric([group, phase], value)
        return [nodes, losses]


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
