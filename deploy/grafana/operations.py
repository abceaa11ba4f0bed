"""Does the daemon keep up, and is it well: throughput, time, dead letters, checkpoints, process."""

from collections.abc import Mapping, Sequence
from functools import partial

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel

from deploy.grafana.panels import PER_SECOND, curves, figure

eighth = partial(figure, span=3)


def figures() -> Sequence[Builder[Panel]]:
    """Across the top."""
    return [
        eighth(
            "Alerts firing",
            "Alerts of streammeta that fire now. The runbook says what to do about each.",
            'count(ALERTS{alertname=~"Streammeta.*", alertstate="firing", @}) or vector(0)',
            levels={1: "red"},
        ),
        eighth(
            "Partitions read",
            "Partitions that the daemon reads. 0: no broker answers.",
            "streammeta_kafka_assigned_partitions{@}",
            levels={0: "red", 1: "green"},
        ),
        eighth(
            "Records a second",
            "Records handled, whatever became of them, averaged over 5 minutes.",
            "instance:streammeta_events:rate5m{@}",
            unit=PER_SECOND,
        ),
        eighth(
            "Lag",
            "Records between the learner and the end of the topic.",
            "instance:streammeta_kafka_lag_records:sum{@}",
        ),
        eighth(
            "Lag in time",
            "How long the lag takes at the speed of the last 5 minutes, if nothing new came.",
            "instance:streammeta_kafka_lag_seconds:rate5m{@}",
            unit="s",
            levels={60: "orange", 600: "red"},
        ),
        eighth(
            "Checkpoint age",
            "Time since the last successful checkpoint. It may grow while no events come.",
            "instance:streammeta_checkpoint_age_seconds{@}",
            unit="s",
            levels={60: "orange", 300: "red"},
        ),
        eighth(
            "Dead letters in an hour",
            "Records that could not be used in the last hour, as far as the process runs.",
            "sum(increase(streammeta_dead_letters_total{@}[1h]))",
            levels={1: "orange"},
        ),
        eighth(
            "Applied again",
            "After a crash: how much of what came since the last checkpoint has been applied again.",
            "streammeta_replay_progress_ratio{@}",
            unit="percentunit",
            levels={0: "orange", 1: "green"},
        ),
    ]


def rows() -> Mapping[str, Sequence[Builder[Panel]]]:
    """Below."""
    return {
        "Throughput": _throughput(),
        "Where the time goes": _time(),
        "Dead letters": _dead_letters(),
        "Single examples": _examples(),
        "Checkpoints": _checkpoints(),
        "Challengers": _challengers(),
        "Ranks": _ranks(),
        "Process": _process(),
    }


def _throughput() -> Sequence[Builder[Panel]]:
    return [
        curves(
            "Records by outcome",
            "What became of the records: learned from, passed over (skipped), already in the state "
            "(duplicate), set aside (dead_letter).",
            {"{{outcome}}": "sum without (topic) (rate(streammeta_events_total{@}[$__rate_interval]))"},
            unit=PER_SECOND,
            stacked=True,
            least=0,
        ),
        curves(
            "Lag by partition",
            "Records behind the end of each partition; beyond 200 partitions the rest is one (__other__). "
            "One partition that grows alone holds a task that gets most of the events.",
            {"{{partition}}": "streammeta_kafka_lag_records{@}"},
            least=0,
        ),
        curves(
            "Lag in seconds",
            "By the records' timestamps: the newest less the last one applied; and until nothing is behind, "
            "at the speed of the last half minute, while lag falls. What is not known has no curve.",
            {
                "behind": "streammeta_kafka_lag_seconds{@}",
                "until none": "streammeta_kafka_lag_eta_seconds{@}",
            },
            unit="s",
            least=0,
        ),
        curves(
            "Broker",
            "How the broker serves: 1 where it is so. And partitions that wait behind an open transaction, "
            "or whose leader does not answer.",
            {
                "{{state}}": "streammeta_kafka_service{@}",
                "blocked partitions": "streammeta_kafka_blocked_partitions{@}",
                "leaderless partitions": "streammeta_kafka_leaderless_partitions{@}",
            },
            least=0,
        ),
        curves(
            "Age of events",
            "How old an event was when it had been learned from. With no lag this is the delay of the "
            "producer and of Kafka.",
            {
                f"{share} of events": f"histogram_quantile({quantile}, "
                "rate(streammeta_event_age_seconds_bucket{@}[$__rate_interval]))"
                for share, quantile in (("half", 0.5), ("90 %", 0.9), ("99 %", 0.99))
            },
            unit="s",
            least=0,
        ),
    ]


def _time() -> Sequence[Builder[Panel]]:
    return [
        curves(
            "Time by stage",
            "Seconds a second spent decoding, loading the task, in the learning step, storing the task. "
            "Where the sum is near 1 the learner is busy all the time: lag will grow with more events.",
            {"{{stage}}": "rate(streammeta_event_processing_seconds_sum{@}[$__rate_interval])"},
            unit="percentunit",
            stacked=True,
            span=12,
            least=0,
        ),
        curves(
            "Slowest hundredth by stage",
            "99 % of the events took at most so long in the stage, over 5 minutes. A step of half a second"
            " is the trace of a new shape.",
            {"{{stage}}": "instance_stage:streammeta_event_processing_seconds:p99_5m{@}"},
            unit="s",
            span=12,
            log=True,
        ),
        curves(
            "Who computes",
            "Shapes of iterations whose step runs as machine code, as a traced graph, or (beyond 64 of "
            "those) one operation after the other; steps being compiled; steps that could not be.",
            {
                "{{executor}}": "streammeta_executor_shapes{@}",
                "being compiled": "streammeta_compiling_steps{@}",
                "failed": "streammeta_compile_failures_total{@}",
            },
            span=12,
            least=0,
        ),
        curves(
            "Compiling",
            "Time spent compiling since the start of the process, beside the learning and at the lowest "
            "priority.",
            {"compiling": "streammeta_compile_seconds_total{@}"},
            unit="s",
            span=12,
            least=0,
        ),
    ]


def _dead_letters() -> Sequence[Builder[Panel]]:
    return [
        curves(
            "Dead letters by reason",
            "Records set aside, by why they could not be used; README lists the reasons.",
            {"{{reason}}": "rate(streammeta_dead_letters_total{@}[$__rate_interval])"},
            unit=PER_SECOND,
            stacked=True,
            least=0,
        ),
        curves(
            "Share of the records",
            "Dead letters as a share of all records handled, over 5 minutes.",
            {"dead letters": "instance:streammeta_dead_letters:ratio_rate5m{@}"},
            unit="percentunit",
            least=0,
        ),
        curves(
            "NaN and infinity",
            "Events set aside because NaN or infinity stood in their input, or would have come out of "
            "their update. The latter says that the learner is unstable.",
            {"{{where}}": "rate(streammeta_nonfinite_total{@}[$__rate_interval])"},
            unit=PER_SECOND,
            least=0,
        ),
    ]


def _examples() -> Sequence[Builder[Panel]]:
    return [
        curves(
            "Records that wait",
            'Records a second whose examples made no episode yet; only with events.kind = "examples". Each '
            "waits in its task's buffer, which is part of the state.",
            {
                "waiting": "sum without (topic) "
                '(rate(streammeta_events_total{outcome="skipped", @}[$__rate_interval]))'
            },
            unit=PER_SECOND,
            span=12,
            least=0,
        ),
        curves(
            "Predictions",
            "Answers a second to records without labels (predict.output_topic; what could not be answered is "
            "a dead letter) and over HTTP, by the parameters they were made at.",
            {"{{source}}, {{at}}": "rate(streammeta_predictions_total{@}[$__rate_interval])"},
            unit=PER_SECOND,
            span=12,
            least=0,
        ),
        curves(
            "Examples dropped",
            "Tasks whose examples waited too long for an episode (expired, events.expire_after_events); "
            "inputs and labels whose other half did not come in time (unmatched, events.label_wait_events).",
            {"{{reason}}": "rate(streammeta_examples_dropped_total{@}[$__rate_interval])"},
            unit=PER_SECOND,
            span=12,
            least=0,
        ),
        curves(
            "Tasks changed by records",
            "Tasks forgotten by a tombstone (forget), begun anew at the meta-parameters (reset), let out of "
            "quarantine (release): what `streammeta tasks delete|reset|release` ask for.",
            {"{{change}}": "rate(streammeta_task_changes_total{@}[$__rate_interval])"},
            unit=PER_SECOND,
            span=12,
            least=0,
        ),
    ]


def _checkpoints() -> Sequence[Builder[Panel]]:
    return [
        curves(
            "Checkpoints",
            "Checkpoints a second by how they ended. A failure ends the process; a restart goes on from "
            "the last success.",
            {"{{outcome}}": "rate(streammeta_checkpoints_total{@}[$__rate_interval])"},
            unit=PER_SECOND,
            least=0,
        ),
        curves(
            "Duration",
            "Time that a checkpoint took; the learner waits meanwhile.",
            {
                f"{share} of checkpoints": f"histogram_quantile({quantile}, "
                "rate(streammeta_checkpoint_duration_seconds_bucket{@}[$__rate_interval]))"
                for share, quantile in (("half", 0.5), ("99 %", 0.99))
            },
            unit="s",
            least=0,
        ),
        curves(
            "Size",
            "Bytes written by the last checkpoint: the memories of the tasks seen since the one before, "
            "and the meta-state.",
            {"written": "streammeta_checkpoint_bytes{@}"},
            unit="bytes",
            least=0,
        ),
    ]


def _ranks() -> Sequence[Builder[Panel]]:
    return [
        curves(
            "Rounds",
            "Rounds a second after which the ranks of a group went on from the mean of their meta-models; "
            "how many ranks this one waits for.",
            {
                "rounds a second": "rate(streammeta_rounds_total{@}[$__rate_interval])",
                "waited for": "streammeta_awaited_ranks{@}",
            },
            least=0,
        ),
        curves(
            "Time of rounds",
            "Seconds a second spent at the ends of rounds: waiting for other ranks, exchanging the "
            "meta-models. A rank that never waits is the slowest one.",
            {"{{stage}}": "rate(streammeta_round_seconds_sum{@}[$__rate_interval])"},
            unit="percentunit",
            stacked=True,
            least=0,
        ),
        curves(
            "Sent",
            "Bytes a second of its meta-model that this rank hands to the others' mean.",
            {"sent": "rate(streammeta_round_sent_bytes_total{@}[$__rate_interval])"},
            unit="Bps",
            least=0,
        ),
        curves(
            "Weight",
            "Weight of this rank in the mean of the last round. Where ranks learn alike it is 1 over their "
            "number.",
            {"weight": "streammeta_round_weight_ratio{@}"},
            unit="percentunit",
            span=12,
            least=0,
        ),
        curves(
            "Distance",
            "How far this rank's meta-parameters were from the mean at the end of a round. Where it grows, "
            "rounds are too long for these rates.",
            {"distance": "streammeta_round_distance{@}"},
            span=12,
            least=0,
        ),
    ]


def _challengers() -> Sequence[Builder[Panel]]:
    return [
        curves(
            "Behind the champion",
            "Records that the champion has applied and the challenger not yet; only with run --shadow. "
            "Beyond 1,000 it is called behind.",
            {"{{learner}}": "streammeta_learner_behind_records{@}"},
            least=0,
        ),
        curves(
            "Loss beside each other",
            "Mean query loss of the last 1,000 events before they are learned from, at each task's memory. "
            "The same records for all.",
            {"{{learner}}": 'streammeta_learner_prequential_loss_window{phase="memory", @}'},
        ),
        curves(
            "How they stand",
            "1 for how a learner stands that does not keep up: starting, behind, stuck, waiting (to be begun "
            "again), failed.",
            {
                "{{learner}} {{state}}": 'streammeta_learner_state{state!~"learning|ended", @} == 1',
            },
            least=0,
        ),
    ]


def _process() -> Sequence[Builder[Panel]]:
    return [
        curves(
            "CPU",
            "Cores in use. The learner uses model.threads of them, Kafka and HTTP some of another.",
            {"cores": "rate(process_cpu_seconds_total{@}[$__rate_interval])"},
            least=0,
        ),
        curves(
            "Memory",
            "Resident memory. It grows with state.cache_tasks memories, then stays.",
            {"resident": "process_resident_memory_bytes{@}"},
            unit="bytes",
            least=0,
        ),
        curves(
            "Open files",
            "File descriptors open, and how many may be.",
            {"open": "process_open_fds{@}", "limit": "process_max_fds{@}"},
            log=True,
        ),
    ]
