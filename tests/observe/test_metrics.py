"""The metrics of the contract: names, labels, values, and bounds."""

import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from streammeta.errors import Reason
from streammeta.evaluation.drift import Detection
from streammeta.evaluation.prequential import Prequential, Scores
from streammeta.observe.catalogue import CATALOGUE, CHECKPOINT_OUTCOMES, OTHER, OUTCOMES, SCOPES, WHERE
from streammeta.observe.metrics import Metrics, Registry
from streammeta.outcomes import Answered, Duplicate, Executing, Outcome, Stages, TaskChanged, Turned
from tests.observe.outcomes import checkpointed, learned, refused, turned

CONTRACT = {
    "streammeta_build_info": ("gauge", {"version", "algorithm", "torch"}),
    "streammeta_events": ("counter", {"topic", "outcome"}),
    "streammeta_predictions": ("counter", {"source", "at"}),
    "streammeta_event_processing_seconds": ("histogram", {"stage"}),
    "streammeta_event_age_seconds": ("histogram", set()),
    "streammeta_prequential_loss": ("gauge", {"phase"}),
    "streammeta_prequential_accuracy": ("gauge", {"phase"}),
    "streammeta_adaptation_gain": ("gauge", set()),
    "streammeta_meta_gradient_norm": ("gauge", set()),
    "streammeta_meta_update_norm": ("gauge", set()),
    "streammeta_memory_tracking_error": ("gauge", set()),
    "streammeta_memory_staleness_events": ("histogram", set()),
    "streammeta_learning_rate": ("gauge", {"loop"}),
    "streammeta_nonfinite": ("counter", {"where"}),
    "streammeta_tasks": ("gauge", {"state"}),
    "streammeta_task_loss": ("gauge", {"task"}),
    "streammeta_dead_letters": ("counter", {"reason"}),
    "streammeta_examples_dropped": ("counter", {"reason"}),
    "streammeta_task_changes": ("counter", {"change"}),
    "streammeta_drift_detections": ("counter", {"scope"}),
    "streammeta_kafka_lag_records": ("gauge", {"topic", "partition"}),
    "streammeta_kafka_lag_seconds": ("gauge", set()),
    "streammeta_kafka_lag_eta_seconds": ("gauge", set()),
    "streammeta_kafka_service": ("gauge", {"state"}),
    "streammeta_kafka_blocked_partitions": ("gauge", set()),
    "streammeta_kafka_leaderless_partitions": ("gauge", set()),
    "streammeta_kafka_assigned_partitions": ("gauge", set()),
    "streammeta_checkpoints": ("counter", {"outcome"}),
    "streammeta_checkpoint_duration_seconds": ("histogram", set()),
    "streammeta_checkpoint_bytes": ("gauge", set()),
    "streammeta_checkpoint_last_success_timestamp_seconds": ("gauge", set()),
    "streammeta_replay_progress_ratio": ("gauge", set()),
    "streammeta_executor_shapes": ("gauge", {"executor"}),
    "streammeta_compiling_steps": ("gauge", set()),
    "streammeta_compile_seconds": ("counter", set()),
    "streammeta_compile_failures": ("counter", set()),
}
"""Section 6 of the contract, and some of ours; by the name of the family (a counter's lacks `_total`)."""


@pytest.fixture
def registry() -> CollectorRegistry:
    """A registry of this test alone."""
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    """The observer under test."""
    return Metrics(registry, topic="tasks", algorithm="moml", version="1.2.3", torch_version="2.13.0")


def feed(metrics: Metrics, outcomes: Iterable[Outcome]) -> None:
    """Fold all of them."""
    for outcome in outcomes:
        metrics(outcome)


def everything() -> list[Outcome]:
    """At least one outcome of each kind, of a classifier."""
    means = Prequential().fold(4.0, 2.0, 1.0, 0.5, Scores(0.25, 0.5, 0.75))
    again = learned(events=2, task_events=2, staleness_events=1, prequential=means)
    return [
        turned(lag_seconds=1.5, eta_seconds=4.0),
        learned(),
        again,
        refused(),
        Duplicate("tasks", 0, 1),
        Answered("tasks", 0, 3, "adapted"),
        TaskChanged("tasks", 0, 2, "task-9", "reset", known=True),
        checkpointed(),
        Executing(2, 1, 0, 1, 1, 31.5),
    ]


def samples(registry: CollectorRegistry, family: str) -> list[Sample]:
    """The samples of one family, through the text that Prometheus would read."""
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return [sample for one in families if one.name == family for sample in one.samples]


def values(registry: CollectorRegistry, family: str, label: str) -> dict[str, float]:
    """The samples of one family by one label."""
    return {sample.labels[label]: sample.value for sample in samples(registry, family)}


def test_exposes_the_contract(metrics: Metrics, registry: CollectorRegistry) -> None:
    """Every metric of the contract is exposed with its type and exactly its labels, and no other of ours."""
    feed(metrics, everything())
    found = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        if family.name.startswith("streammeta_") and not family.name.endswith("_created"):
            assert family.samples, family.name
            labels = [set(sample.labels) - {"le"} for sample in family.samples]
            assert all(one == labels[0] for one in labels), family.name
            found[family.name] = (family.type, labels[0])
    assert found == CONTRACT


def test_a_forgotten_task_is_shown_no_more(metrics: Metrics, registry: CollectorRegistry) -> None:
    """Its record is one that nothing was learned from; only a task that was known counts as forgotten."""
    feed(metrics, [learned(task="a", task_loss=1.0), learned(task="b", task_loss=2.0)])
    feed(metrics, [TaskChanged("tasks", 0, n, "b", "forget", known=n == 3) for n in (3, 4)])
    assert values(registry, "streammeta_task_loss", "task") == {"a": 1.0}
    assert values(registry, "streammeta_task_changes", "change") == {"forget": 1, "reset": 0, "release": 0}
    assert values(registry, "streammeta_events", "outcome")["skipped"] == 2


def test_catalogue_says_what_is_exposed(metrics: Metrics, registry: CollectorRegistry) -> None:
    """Name, type and help text of each catalogue entry are those of the exposition."""
    feed(metrics, everything())
    exposed = {
        family.name: (family.type, family.documentation)
        for family in text_string_to_metric_families(generate_latest(registry).decode())
    }
    for spec in CATALOGUE:
        assert exposed[spec.name.removesuffix("_total")] == (spec.kind, spec.help)


def test_closed_label_sets_start_at_zero(metrics: Metrics, registry: CollectorRegistry) -> None:
    """Counters with a closed label set are all there before anything happened, so that rates can be taken."""
    assert isinstance(metrics, Metrics)
    assert registry.get_sample_value("streammeta_event_processing_seconds_count", {"stage": "load"}) == 0
    for name, label, closed in (
        ("streammeta_dead_letters_total", "reason", list(Reason)),
        ("streammeta_nonfinite_total", "where", WHERE),
        ("streammeta_checkpoints_total", "outcome", CHECKPOINT_OUTCOMES),
    ):
        assert [registry.get_sample_value(name, {label: str(value)}) for value in closed] == [0] * len(closed)
    for outcome in OUTCOMES:
        labels = {"topic": "tasks", "outcome": outcome}
        assert registry.get_sample_value("streammeta_events_total", labels) == 0


def test_lag_without_a_broker_is_absent(metrics: Metrics, registry: CollectorRegistry) -> None:
    """Unknown is no 0; how the broker serves is told all the same."""
    metrics(turned(lag=[5], lag_seconds=2.0))
    assert samples(registry, "streammeta_kafka_lag_records") != []
    metrics(turned(lag=[], service="refused"))
    for name in ("streammeta_kafka_lag_records", "streammeta_kafka_lag_seconds"):
        assert samples(registry, name) == []
    states = values(registry, "streammeta_kafka_service", "state")
    assert states == {"served": 0.0, "throttled": 0.0, "away": 0.0, "refused": 1.0}


def test_unknown_gauges_are_absent(metrics: Metrics, registry: CollectorRegistry) -> None:
    """A loss is never 0 because nothing was learned yet; a learner without memory shows no such loss."""
    assert samples(registry, "streammeta_prequential_loss") == []
    nothing_at_memory = Prequential().fold(4.0, 2.0, float("nan"), 0.5)
    metrics(learned(prequential=nothing_at_memory, loss_memory=float("nan")))
    assert values(registry, "streammeta_prequential_loss", "phase") == {"meta": 4.0, "adapted": 2.0}


def test_counts_what_happened(metrics: Metrics, registry: CollectorRegistry) -> None:
    """Each outcome moves its own counters, and non-finite records are counted by where they were found."""
    feed(metrics, everything())
    feed(
        metrics, [refused(Reason.NON_FINITE_INPUT), refused(Reason.NON_FINITE_UPDATE), checkpointed(ok=False)]
    )
    events = {
        sample.labels["outcome"]: sample.value
        for sample in samples(registry, "streammeta_events")
        if sample.name == "streammeta_events_total"
    }
    assert events == {"learned": 2, "skipped": 1, "duplicate": 1, "dead_letter": 3}
    assert registry.get_sample_value("streammeta_dead_letters_total", {"reason": "bad_tensor"}) == 1
    assert registry.get_sample_value("streammeta_nonfinite_total", {"where": "input"}) == 1
    assert registry.get_sample_value("streammeta_nonfinite_total", {"where": "update"}) == 1
    assert registry.get_sample_value("streammeta_checkpoints_total", {"outcome": "success"}) == 1
    assert registry.get_sample_value("streammeta_checkpoints_total", {"outcome": "failure"}) == 1


def test_drift_is_counted_by_scope(metrics: Metrics, registry: CollectorRegistry) -> None:
    """Of tasks and of the stream; 0 from the start."""
    name = "streammeta_drift_detections_total"
    assert [registry.get_sample_value(name, {"scope": scope}) for scope in SCOPES] == [0, 0]
    found = [Detection("a", 5, 0.1, 0.5), Detection("", 5, 0.1, 0.5), Detection("b", 5, 0.1, 0.5)]
    metrics(replace(learned(events=5), drifts=found))
    assert [registry.get_sample_value(name, {"scope": scope}) for scope in SCOPES] == [2, 1]


def test_gauges_show_the_last_event(metrics: Metrics, registry: CollectorRegistry) -> None:
    """Fading means, norms and rates are those of the last outcome, the gain is their difference."""
    fading = Prequential()
    for number in range(1, 301):
        fading = fading.fold(8.0 / number, 2.0 / number, 1.0, 0.25)
        metrics(learned(events=number, prequential=fading, gradient_norm=number, meta_lr=0.5))
    weights = [0.99 ** (300 - number) for number in range(1, 301)]
    mean = sum(w * 8.0 / n for w, n in zip(weights, range(1, 301), strict=True)) / sum(weights)
    losses = values(registry, "streammeta_prequential_loss", "phase")
    assert losses["meta"] == pytest.approx(mean, rel=1e-12)
    assert losses["adapted"] == pytest.approx(mean / 4, rel=1e-12)
    assert registry.get_sample_value("streammeta_adaptation_gain") == pytest.approx(0.75 * mean, rel=1e-12)
    assert registry.get_sample_value("streammeta_memory_tracking_error") == pytest.approx(0.25)
    assert registry.get_sample_value("streammeta_meta_gradient_norm") == 300
    assert registry.get_sample_value("streammeta_learning_rate", {"loop": "meta"}) == 0.5


def test_histograms_put_times_in_their_buckets(metrics: Metrics, registry: CollectorRegistry) -> None:
    """A step of 0.7 ms lies between 0.5 and 1 ms; a first visit has no staleness; no age is negative."""
    metrics(learned(stages=Stages(2e-6, 2e-5, 7e-4, 2e-5), age_seconds=-3.0))
    below = {"stage": "step", "le": "0.0005"}
    above = {"stage": "step", "le": "0.001"}
    assert registry.get_sample_value("streammeta_event_processing_seconds_bucket", below) == 0
    assert registry.get_sample_value("streammeta_event_processing_seconds_bucket", above) == 1
    assert registry.get_sample_value("streammeta_memory_staleness_events_count") == 0
    assert registry.get_sample_value("streammeta_event_age_seconds_sum") == 0
    metrics(learned(staleness_events=50_000))
    assert registry.get_sample_value("streammeta_memory_staleness_events_sum") == 50_000


def test_failed_checkpoint_leaves_the_last_success(metrics: Metrics, registry: CollectorRegistry) -> None:
    """Alerts on the age of the last checkpoint see successes only."""
    feed(metrics, [checkpointed(at=100.0), checkpointed(ok=False, at=200.0)])
    assert registry.get_sample_value("streammeta_checkpoint_last_success_timestamp_seconds") == 100.0
    assert registry.get_sample_value("streammeta_checkpoint_duration_seconds_count") == 1


def test_lag_of_a_lost_partition_disappears(metrics: Metrics, registry: CollectorRegistry) -> None:
    """A partition that is no longer assigned leaves no stale series behind."""
    metrics(turned(lag=[5, 7]))
    assert values(registry, "streammeta_kafka_lag_records", "partition") == {"0": 5, "1": 7}
    metrics(Turned("tasks", connected=True, restoring=False, lag={1: 6}))
    assert values(registry, "streammeta_kafka_lag_records", "partition") == {"1": 6}
    assert registry.get_sample_value("streammeta_kafka_assigned_partitions") == 1


def test_progress_of_what_is_applied_again(metrics: Metrics, registry: CollectorRegistry) -> None:
    """Absent before the source was read, then what the loop told last."""
    assert registry.get_sample_value("streammeta_replay_progress_ratio") is None
    metrics(turned(restoring=True, replayed=0.25))
    assert registry.get_sample_value("streammeta_replay_progress_ratio") == 0.25
    metrics(turned())
    assert registry.get_sample_value("streammeta_replay_progress_ratio") == 1


def test_who_computes_and_what_compiling_took(metrics: Metrics, registry: CollectorRegistry) -> None:
    """Shapes by executor as told last; compilations are counted once, however often they are told."""
    feed(
        metrics,
        [Executing(0, 3, 0, 2, 0, 0.0), Executing(1, 2, 0, 1, 0, 20.5), Executing(2, 1, 7, 0, 1, 31.5)],
    )
    assert values(registry, "streammeta_executor_shapes", "executor") == {
        "compiled": 2,
        "traced": 1,
        "eager": 7,
    }
    assert registry.get_sample_value("streammeta_compiling_steps") == 0
    assert registry.get_sample_value("streammeta_compile_seconds_total") == 31.5
    assert registry.get_sample_value("streammeta_compile_failures_total") == 1


def test_partitions_beyond_the_cap_are_summed(metrics: Metrics, registry: CollectorRegistry) -> None:
    """The sum over all lag series is the lag of the topic, with any number of partitions."""
    metrics(turned(lag=range(1000)))
    lags = values(registry, "streammeta_kafka_lag_records", "partition")
    assert len(lags) == 201
    assert lags["199"] == 199
    assert sum(lags.values()) == sum(range(1000))


def test_series_stay_bounded(metrics: Metrics, registry: CollectorRegistry) -> None:
    """Under 500 series after 12,000 tasks, 1,000 partitions and every reason of refusal."""
    rng = np.random.default_rng(1)
    feed(metrics, everything())
    feed(metrics, map(refused, Reason))
    feed(metrics, (learned(task=f"task-{i}", task_loss=rng.random()) for i in range(12_000)))
    metrics(turned(lag=range(1000)))
    series = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    assert 400 < len(series) < 500


def test_process_metrics_are_there(metrics: Metrics, registry: CollectorRegistry) -> None:
    """Memory of the process, platform and garbage collector are on the same registry."""
    assert isinstance(metrics, Metrics)
    assert (registry.get_sample_value("process_resident_memory_bytes") or 0) > 0
    assert samples(registry, "python_info")
    assert samples(registry, "python_gc_collections")


def test_the_registry_leaves_out_times_of_creation() -> None:
    """In both formats; an ordinary registry beside it is as it was."""
    ours, plain = Registry(), CollectorRegistry()
    for registry in (ours, plain):
        feed(Metrics(registry, topic="tasks", algorithm="moml", version="1", torch_version="2"), everything())
    text = generate_latest(ours).decode()
    assert "_created" not in text
    assert 'streammeta_events_total{outcome="learned",topic="tasks"} 2.0' in text
    assert "_created" not in openmetrics.generate_latest(ours).decode()  # type: ignore[no-untyped-call]  # theirs
    assert "_created" in generate_latest(plain).decode()


def test_both_text_formats_parse(metrics: Metrics, registry: CollectorRegistry) -> None:
    """The strict OpenMetrics parser finds the same families as the older one, with an awkward task id."""
    feed(metrics, everything())
    metrics(learned(task='quote " slash \\ newline \n end'))
    text = openmetrics.generate_latest(registry).decode()  # type: ignore[no-untyped-call]  # theirs
    strict = {family.name for family in parse_openmetrics(text)}  # type: ignore[no-untyped-call]  # theirs
    assert set(CONTRACT) <= strict
    assert 'quote " slash \\ newline \n end' in values(registry, "streammeta_task_loss", "task")


def test_promtool_finds_nothing_to_say(metrics: Metrics, registry: CollectorRegistry) -> None:
    """The exposition passes the lint of Prometheus itself."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool (package prometheus) is not installed")
    feed(metrics, everything())
    run = subprocess.run(
        [promtool, "check", "metrics"], input=generate_latest(registry), capture_output=True, check=False
    )
    assert (run.returncode, run.stderr.decode()) == (0, "")


def test_task_loss_shows_the_worst(metrics: Metrics, registry: CollectorRegistry) -> None:
    """The 20 worst by their last loss, and the mean of all the others."""
    rng = np.random.default_rng(2)
    losses = {}
    for _ in range(3000):
        task, loss = f"task-{rng.integers(500)}", rng.random()
        losses[task] = loss
        metrics(learned(task=task, task_loss=loss))
    ranked = sorted(losses.items(), key=lambda item: -item[1])
    others = [loss for _, loss in ranked[20:]]
    expected = {**dict(ranked[:20]), OTHER: pytest.approx(sum(others) / len(others))}
    assert values(registry, "streammeta_task_loss", "task") == expected
