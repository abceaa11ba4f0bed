"""The metrics of a rank in its group: of the rounds after which all go on from one meta-model."""

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from streammeta.observe.buckets import Buckets
from streammeta.observe.spec import Spec
from streammeta.outcomes import Awaiting, United

ROUND_STAGES: Final = ("wait", "exchange")
_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0)

ROUND_SPECS: Final = (
    Spec(
        "streammeta_rounds_total",
        "counter",
        (),
        "Rounds after which the ranks of a group went on from the mean of their meta-models.",
    ),
    Spec(
        "streammeta_round_seconds",
        "histogram",
        ("stage",),
        "Time that the end of a round took: waiting for the other ranks, and exchanging the meta-models.",
        _SECONDS,
    ),
    Spec(
        "streammeta_round_sent_bytes_total",
        "counter",
        (),
        "Bytes of its meta-model that this rank handed to the others' mean.",
    ),
    Spec(
        "streammeta_round_weight_ratio",
        "gauge",
        (),
        "Weight of this rank in the mean of the last round; 0 when it learned nothing in it.",
    ),
    Spec(
        "streammeta_round_distance",
        "gauge",
        (),
        "How far this rank's meta-parameters were from the mean at the end of the last round.",
    ),
    Spec(
        "streammeta_awaited_ranks",
        "gauge",
        (),
        "Ranks that have not closed the round for whose end this one waits; 0 while it learns.",
    ),
)


class RoundMetrics(Collector):
    """Folds what the group tells; gauges are read from the last round when scraped."""

    def __init__(self, registry: CollectorRegistry) -> None:
        by_name = {spec.name: spec for spec in ROUND_SPECS}
        self._rounds, self._sent_bytes = (
            Counter(name, by_name[name].help, registry=registry)
            for name in ("streammeta_rounds_total", "streammeta_round_sent_bytes_total")
        )
        self._seconds = Buckets(by_name["streammeta_round_seconds"], registry, ROUND_STAGES)
        self._united: United | None = None
        self._awaiting: Awaiting | None = None
        registry.register(self)

    def fold(self, outcome: Awaiting | United) -> None:
        """Fold one outcome."""
        if isinstance(outcome, Awaiting):
            self._awaiting = outcome
            return
        self._united, self._awaiting = outcome, None
        self._rounds.inc()
        self._sent_bytes.inc(outcome.bytes)
        for stage, seconds in zip(ROUND_STAGES, (outcome.waited_seconds, outcome.seconds), strict=True):
            self._seconds.observe_all(seconds, 1, stage)

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """The gauges without samples."""
        return [GaugeMetricFamily(spec.name, spec.help) for spec in ROUND_SPECS if spec.kind == "gauge"]

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The gauges; none before the first round has ended."""
        families, united, awaiting = [*self.describe()], self._united, self._awaiting
        if united is not None:
            values = (united.weight, united.distance, len(awaiting.ranks) if awaiting else 0)
            for family, value in zip(families, values, strict=True):
                family.add_metric([], value)
        return families
