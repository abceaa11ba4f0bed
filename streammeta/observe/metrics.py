"""Prometheus metrics: a fold of outcomes into the metrics of the catalogue.

Counters and histograms are kept as such. A gauge is not set per event: the last outcomes are kept, and read
when somebody scrapes, so that a value that is not known yet is absent instead of a misleading 0.
Memory and the number of series are bounded, whatever the stream brings.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import get_args

import numpy as np
from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streammeta.errors import Reason
from streammeta.events import Condition, Service
from streammeta.observe.buckets import Buckets
from streammeta.observe.catalogue import (
    CATALOGUE,
    EXECUTORS,
    OTHER,
    PHASES,
    STAGES,
)
from streammeta.observe.counters import by_source, counter, counters
from streammeta.observe.rates import as_configured
from streammeta.observe.round_metrics import ROUND_SPECS, RoundMetrics
from streammeta.observe.spec import Spec
from streammeta.observe.task_losses import TaskLosses
from streammeta.outcomes import (
    Answered,
    Awaiting,
    Checkpointed,
    Duplicate,
    Executing,
    Expired,
    Learned,
    Outcome,
    Refused,
    Skipped,
    TaskChanged,
    Turned,
    United,
)

MAX_PARTITIONS = 200
"""Partitions with a lag series of their own, lowest numbers first; the others share one."""

Reading = tuple[str, Sequence[str], float]
"""Name of a gauge, its label values, its value; NaN means that there is nothing to expose."""

_NONFINITE = {Reason.NON_FINITE_INPUT: "input", Reason.NON_FINITE_UPDATE: "update"}
_SPECS = {spec.name: spec for spec in CATALOGUE}


class Registry(CollectorRegistry):
    """A registry that exposes no `_created` series, which double the counters and which nobody asks for.

    prometheus_client can leave them out too, but only for all registries of the process at once.
    """

    def collect(self) -> Iterable[Metric]:
        """Every family, less those series."""
        for family in super().collect():
            family.samples = [s for s in family.samples if not s.name.endswith("_created")]
            yield family


class Metrics:
    """Observer: folds outcomes into the metrics on `registry`. Costs some 100 µs per chunk.

    The registry also gets the metrics of the process, the platform and the garbage collector.

    Args:
        registry: Where the metrics are registered; names that it already has are refused with ValueError.
        topic: Label of the events counted here.
        algorithm, version, torch_version: Labels of `streammeta_build_info`.
        worst_tasks: How many tasks are named; of the others there is a mean.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        topic: str,
        algorithm: str,
        version: str,
        torch_version: str,
        worst_tasks: int = 20,
    ) -> None:
        self._events = counters(registry, "streammeta_events_total", topic)
        self._dead_letters = counters(registry, "streammeta_dead_letters_total")
        self._dropped = counters(registry, "streammeta_examples_dropped_total")
        self._predictions, self._asked = by_source(registry, "streammeta_predictions_total", "stream", "http")
        self._changes = counters(registry, "streammeta_task_changes_total")
        self._nonfinite = counters(registry, "streammeta_nonfinite_total")
        self._checkpoints = counters(registry, "streammeta_checkpoints_total")
        self._drifts = counters(registry, "streammeta_drift_detections_total")
        self._learned_total = self._events["learned"]
        self._compile_seconds = counter(registry, "streammeta_compile_seconds_total")
        self._compile_failures = counter(registry, "streammeta_compile_failures_total")
        self._processing = Buckets(_SPECS["streammeta_event_processing_seconds"], registry, STAGES)
        self._age = Buckets(_SPECS["streammeta_event_age_seconds"], registry)
        self._staleness = Buckets(_SPECS["streammeta_memory_staleness_events"], registry)
        self._checkpoint_seconds = Buckets(_SPECS["streammeta_checkpoint_duration_seconds"], registry)
        self._rounds = RoundMetrics(registry)
        self._latest = _Latest((version, algorithm, torch_version), TaskLosses(worst=worst_tasks))
        registry.register(self._latest)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)

    def __call__(self, outcome: Outcome) -> None:
        """Fold one outcome."""
        match outcome:
            case Learned():
                self._learned(outcome)
            case Turned():
                self._latest.turned = outcome
            case Refused():
                self._refused(outcome)
            case Duplicate():
                self._events["duplicate"].inc()
            case Skipped():
                self._events["skipped"].inc()
            case Answered():
                self._predictions[outcome.at].inc()
            case TaskChanged():
                self._changed(outcome)
            case Expired():
                self._dropped["expired"].inc(outcome.tasks)
                self._dropped["unmatched"].inc(outcome.halves)
            case Checkpointed():
                self._checkpointed(outcome)
            case Executing():
                self._executing(outcome)
            case Awaiting() | United():
                self._rounds.fold(outcome)

    def asked(self, at: Iterable[str]) -> None:
        """Predictions were given to who asked over HTTP, at these parameters; any thread may tell."""
        for kind in at:
            self._asked[kind].inc()

    def _learned(self, outcome: Learned) -> None:
        self._latest.learned = outcome
        for task, loss in zip(outcome.tasks, outcome.task_losses.tolist(), strict=True):
            self._latest.task_losses.fold(task, loss)
        self._learned_total.inc(len(outcome))
        for drift in outcome.drifts:
            self._drifts["task" if drift.task else "global"].inc()
        for stage, seconds in zip(STAGES, outcome.stages, strict=True):
            self._processing.observe_all(seconds, len(outcome), stage)
        # A producer's clock may run ahead of this one; a negative age would look like a counter reset.
        self._age.observe(np.maximum(outcome.ages_seconds, 0.0))
        staleness = outcome.staleness_events
        self._staleness.observe(staleness[~np.isnan(staleness)])

    def _refused(self, outcome: Refused) -> None:
        self._events["dead_letter"].inc()
        self._dead_letters[outcome.reason].inc()
        if outcome.reason in _NONFINITE:
            self._nonfinite[_NONFINITE[outcome.reason]].inc()

    def _changed(self, outcome: TaskChanged) -> None:
        self._events["skipped"].inc()
        self._changes[outcome.change].inc(outcome.known)
        if outcome.change == "forget":
            self._latest.task_losses.forget(outcome.task)

    def _executing(self, outcome: Executing) -> None:
        before, self._latest.executing = self._latest.executing, outcome
        self._compile_seconds.inc(outcome.seconds - (before.seconds if before else 0.0))
        self._compile_failures.inc(outcome.failures - (before.failures if before else 0))

    def _checkpointed(self, outcome: Checkpointed) -> None:
        self._checkpoints["success" if outcome.ok else "failure"].inc()
        if outcome.ok:
            self._checkpoint_seconds.observe_all(outcome.seconds, 1)
            self._latest.saved = outcome


class _Latest(Collector):
    """The gauges, read from the last outcome of each kind when scraped, from any thread.

    Each outcome is one frozen value, replaced whole: a scrape sees no half-written one and takes no lock.
    """

    def __init__(self, build: Sequence[str], task_losses: TaskLosses) -> None:
        self._build = build
        self.learned: Learned | None = None
        self.turned: Turned | None = None
        self.saved: Checkpointed | None = None
        self.executing: Executing | None = None
        self.task_losses = task_losses

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return [_family(spec) for spec in CATALOGUE if spec.kind == "gauge" and spec not in ROUND_SPECS]

    def collect(self) -> Iterable[GaugeMetricFamily]:
        families = {family.name: family for family in self.describe()}
        for name, labels, value in self._readings():
            if not math.isnan(value):
                families[name].add_metric(labels, value)
        return families.values()

    def _readings(self) -> Iterator[Reading]:
        yield "streammeta_build_info", self._build, 1.0
        learned, turned, saved, executing = self.learned, self.turned, self.saved, self.executing
        if learned is not None:
            yield from _of_losses(learned)
            yield from _of_step(learned)
        for task, loss in self.task_losses.read():
            yield "streammeta_task_loss", (task,), loss
        if turned is not None:
            yield from _of_lag(turned.topic, turned.lag)
            yield from _of_condition(turned.condition)
            yield "streammeta_replay_progress_ratio", (), turned.replayed
        if saved is not None:
            yield from _of_checkpoint(saved)
        if executing is not None:
            yield from _of_executors(executing)


def _family(spec: Spec) -> GaugeMetricFamily:
    return GaugeMetricFamily(spec.name, spec.help, labels=spec.labels)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _of_losses(learned: Learned) -> Iterator[Reading]:
    losses = learned.prequential
    for phase, loss in zip(PHASES, (losses.meta, losses.adapted, losses.memory), strict=True):
        yield "streammeta_prequential_loss", (phase,), loss.mean
    for phase, accuracy in zip(PHASES, losses.accuracies, strict=True):
        yield "streammeta_prequential_accuracy", (phase,), accuracy.mean
    yield "streammeta_adaptation_gain", (), losses.meta.mean - losses.adapted.mean
    yield "streammeta_memory_tracking_error", (), losses.tracking_error.mean


def _of_step(learned: Learned) -> Iterator[Reading]:
    yield "streammeta_meta_gradient_norm", (), learned.gradient_norms[-1]
    yield "streammeta_meta_update_norm", (), learned.update_norms[-1]
    yield "streammeta_learning_rate", ("inner",), as_configured(learned.inner_lr)
    yield "streammeta_learning_rate", ("meta",), as_configured(float(learned.meta_lrs[-1]))


def _of_lag(topic: str, lag: Mapping[int, int]) -> Iterator[Reading]:
    yield "streammeta_kafka_assigned_partitions", (), len(lag)
    by_number = sorted(lag.items())
    for partition, records in by_number[:MAX_PARTITIONS]:
        yield "streammeta_kafka_lag_records", (topic, str(partition)), records
    if by_number[MAX_PARTITIONS:]:
        rest = sum(records for _, records in by_number[MAX_PARTITIONS:])
        yield "streammeta_kafka_lag_records", (topic, OTHER), rest


def _of_condition(condition: Condition) -> Iterator[Reading]:
    yield "streammeta_kafka_lag_seconds", (), _or_nan(condition.lag_seconds)
    yield "streammeta_kafka_lag_eta_seconds", (), _or_nan(condition.eta_seconds)
    for state in get_args(Service):
        yield "streammeta_kafka_service", (state,), float(state == condition.service)
    yield "streammeta_kafka_blocked_partitions", (), len(condition.blocked)
    yield "streammeta_kafka_leaderless_partitions", (), len(condition.leaderless)


def _of_executors(executing: Executing) -> Iterator[Reading]:
    shapes = (executing.compiled, executing.traced, executing.eager)
    for executor, count in zip(EXECUTORS, shapes, strict=True):
        yield "streammeta_executor_shapes", (executor,), count
    yield "streammeta_compiling_steps", (), executing.compiling


def _of_checkpoint(saved: Checkpointed) -> Iterator[Reading]:
    yield "streammeta_tasks", ("cached",), saved.tasks_cached
    yield "streammeta_tasks", ("stored",), saved.tasks_stored
    yield "streammeta_tasks", ("quarantined",), len(saved.quarantined)
    yield "streammeta_checkpoint_bytes", (), saved.bytes
    yield "streammeta_checkpoint_last_success_timestamp_seconds", (), saved.timestamp_seconds
