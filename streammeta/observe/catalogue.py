"""The metrics that streammeta exposes, as data: what `metrics.py` makes them from, and what the tests read.

Invariant: base units, `_total` on counters, closed label sets wherever the stream could choose a label; the
two exceptions, `task` and `partition`, are capped.
"""

from types import MappingProxyType
from typing import get_args

from streammeta.errors import Reason
from streammeta.observe.round_metrics import ROUND_SPECS, ROUND_STAGES
from streammeta.observe.spec import Spec
from streammeta.outcomes import TaskChange

OUTCOMES = ("learned", "skipped", "duplicate", "dead_letter")
STAGES = ("decode", "load", "step", "store")
PHASES = ("meta", "adapted", "memory")
PHASE_TITLES = {
    "meta": "at the meta-parameters",
    "adapted": "after one adaptation",
    "memory": "at the task's memory",
}
"""What people are told of the prequential losses; the page says the same."""
DROPPED = ("expired", "unmatched")
CHANGES: tuple[str, ...] = get_args(TaskChange)
WHERE = ("input", "update")
SCOPES = ("task", "global")
EXECUTORS = ("compiled", "traced", "eager")
CHECKPOINT_OUTCOMES = ("success", "failure")
AT = ("meta", "memory", "adapted")
OTHER = "__other__"
"""The label value that stands for everything beyond a cap."""

_STAGE_SECONDS = (
    *(1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3),
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
)
_AGE_SECONDS = (
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    *(30.0, 60.0, 300.0, 1800.0, 3600.0, 21600.0, 86400.0, 604800.0),
)
_CHECKPOINT_SECONDS = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
)
_STALENESS_EVENTS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6)


CATALOGUE = (
    Spec(
        "streammeta_build_info",
        "gauge",
        ("version", "algorithm", "torch"),
        "Always 1; the labels say which streammeta, which algorithm and which PyTorch run.",
    ),
    Spec(
        "streammeta_events_total",
        "counter",
        ("topic", "outcome"),
        "What became of records since the start of the process: an episode learned from; examples that only "
        "wait for an episode, or a change of a task (skipped); known already; set aside.",
    ),
    Spec(
        "streammeta_predictions_total",
        "counter",
        ("source", "at"),
        "Predictions given since the start of the process, to records without labels (source stream) or over "
        "HTTP (http), by the parameters they were made at.",
    ),
    Spec(
        "streammeta_event_processing_seconds",
        "histogram",
        ("stage",),
        "Time spent on one event: decoding it, loading its task, the learning step, storing the task.",
        _STAGE_SECONDS,
    ),
    Spec(
        "streammeta_event_age_seconds",
        "histogram",
        (),
        "How old an event was when it had been learned from: now minus its event time.",
        _AGE_SECONDS,
    ),
    Spec(
        "streammeta_prequential_loss",
        "gauge",
        ("phase",),
        "Fading mean of the query loss before the event is learned from: at the meta-parameters (meta), "
        "after one inner adaptation (adapted), at the task's memory (memory).",
    ),
    Spec(
        "streammeta_prequential_accuracy",
        "gauge",
        ("phase",),
        "Fading mean of the share of the query set that was classified rightly before the event is learned "
        "from; of classifiers alone.",
    ),
    Spec(
        "streammeta_adaptation_gain",
        "gauge",
        (),
        "Prequential loss at the meta-parameters minus after adaptation; above 0, adapting helps.",
    ),
    Spec("streammeta_meta_gradient_norm", "gauge", (), "Euclidean norm of the last meta-gradient."),
    Spec("streammeta_meta_update_norm", "gauge", (), "How far the last event moved the meta-parameters."),
    Spec(
        "streammeta_memory_tracking_error",
        "gauge",
        (),
        "Fading mean of the distance between a task's memory and the model freshly adapted to it.",
    ),
    Spec(
        "streammeta_memory_staleness_events",
        "histogram",
        (),
        "Events learned from since the task was last seen; first visits are not counted.",
        _STALENESS_EVENTS,
    ),
    Spec(
        "streammeta_learning_rate",
        "gauge",
        ("loop",),
        "The rate in force in the inner and the meta loop, after a schedule.",
    ),
    Spec(
        "streammeta_nonfinite_total",
        "counter",
        ("where",),
        "Events set aside because NaN or infinity stood in their input or came out of their update.",
    ),
    Spec(
        "streammeta_tasks",
        "gauge",
        ("state",),
        "Tasks at the last checkpoint: held in RAM (cached), known to the state (stored), in quarantine "
        "(quarantined).",
    ),
    Spec(
        "streammeta_task_loss",
        "gauge",
        ("task",),
        "Fading loss of the 20 worst of up to 10000 tasks seen last, and the mean of the others.",
    ),
    Spec(
        "streammeta_drift_detections_total",
        "counter",
        ("scope",),
        "Rises found in the losses before learning: of a task (task), of the stream (global); with [drift].",
    ),
    Spec(
        "streammeta_dead_letters_total",
        "counter",
        ("reason",),
        "Records written to the dead-letter topic, by reason.",
    ),
    Spec(
        "streammeta_examples_dropped_total",
        "counter",
        ("reason",),
        "Examples given up: of tasks that never had enough for an episode (expired, counted by task), and "
        "inputs or labels whose other half did not come in time (unmatched).",
    ),
    Spec(
        "streammeta_task_changes_total",
        "counter",
        ("change",),
        "Tasks of which a record changed what is kept: forgotten, as by a tombstone (forget), begun anew at "
        "the meta-parameters (reset), let out of quarantine (release).",
    ),
    Spec(
        "streammeta_kafka_lag_records",
        "gauge",
        ("topic", "partition"),
        "Records between the learner and the end of the partition; beyond 200 partitions, the rest in one.",
    ),
    Spec(
        "streammeta_kafka_lag_seconds",
        "gauge",
        (),
        "Timestamp of the newest record less that of the last one applied; absent where it is not known.",
    ),
    Spec(
        "streammeta_kafka_lag_eta_seconds",
        "gauge",
        (),
        "Time until nothing is behind, at the speed of the last half minute; absent while lag does not fall.",
    ),
    Spec(
        "streammeta_kafka_service",
        "gauge",
        ("state",),
        "1 for how the broker serves this client: served, throttled by a quota, away, refused; else 0.",
    ),
    Spec(
        "streammeta_kafka_blocked_partitions",
        "gauge",
        (),
        "Partitions whose unread records wait behind an open transaction.",
    ),
    Spec(
        "streammeta_kafka_leaderless_partitions",
        "gauge",
        (),
        "Partitions whose leader does not answer although other brokers do.",
    ),
    Spec("streammeta_kafka_assigned_partitions", "gauge", (), "Partitions that this process reads."),
    Spec("streammeta_checkpoints_total", "counter", ("outcome",), "Checkpoints tried, by how they ended."),
    Spec(
        "streammeta_checkpoint_duration_seconds",
        "histogram",
        (),
        "Time that a successful checkpoint took.",
        _CHECKPOINT_SECONDS,
    ),
    Spec("streammeta_checkpoint_bytes", "gauge", (), "Bytes written by the last successful checkpoint."),
    Spec(
        "streammeta_checkpoint_last_success_timestamp_seconds",
        "gauge",
        (),
        "Unix time at which the last successful checkpoint ended.",
    ),
    Spec(
        "streammeta_replay_progress_ratio",
        "gauge",
        (),
        "Share applied of what is applied again, after a crash or from a recording; 1 when all of it was.",
    ),
    Spec(
        "streammeta_executor_shapes",
        "gauge",
        ("executor",),
        "Shapes of iterations whose step runs as machine code (compiled), as a traced graph (traced), or, "
        "beyond 64 of those, one operation after the other (eager).",
    ),
    Spec(
        "streammeta_compiling_steps",
        "gauge",
        (),
        "Steps that are being compiled, or wait for it.",
    ),
    Spec(
        "streammeta_compile_seconds_total",
        "counter",
        (),
        "Time spent compiling steps since the start of the process.",
    ),
    Spec(
        "streammeta_compile_failures_total",
        "counter",
        (),
        "Steps that could not be compiled, or then differed from the plain step: the traced one serves.",
    ),
    *ROUND_SPECS,
)

CLOSED_LABELS = MappingProxyType(
    {
        "streammeta_events_total": OUTCOMES,
        "streammeta_event_processing_seconds": STAGES,
        "streammeta_nonfinite_total": WHERE,
        "streammeta_drift_detections_total": SCOPES,
        "streammeta_dead_letters_total": tuple(Reason),
        "streammeta_predictions_total": AT,
        "streammeta_examples_dropped_total": DROPPED,
        "streammeta_task_changes_total": CHANGES,
        "streammeta_checkpoints_total": CHECKPOINT_OUTCOMES,
        "streammeta_round_seconds": ROUND_STAGES,
    }
)
"""Counters and histograms with a closed label set: all of it is exposed from the start, with 0."""
