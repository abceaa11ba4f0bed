"""Is the stream being learned: losses, steps, tasks."""

from collections.abc import Mapping, Sequence

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel

from deploy.grafana.panels import PER_SECOND, curves, figure, ranking


def figures() -> Sequence[Builder[Panel]]:
    """Across the top."""
    return [
        figure(
            "Loss after adaptation",
            "Prequential loss after one inner adaptation: each event is predicted before it is learned "
            "from. The number to watch; it should fall, then stay.",
            'streammeta_prequential_loss{phase="adapted", @}',
        ),
        figure(
            "Against its median",
            "The loss now, as a share of its median over the last 6 hours. Above 100 % it predicts worse "
            "than usual; above 200 % for 10 minutes StreammetaLossDiverging fires.",
            'streammeta_prequential_loss{phase="adapted", @} '
            "/ instance:streammeta_prequential_loss:median6h{@}",
            unit="percentunit",
            levels={1.5: "orange", 2.0: "red"},
            no_value="after 10 minutes",
        ),
        figure(
            "Adaptation gain",
            "Loss at the meta-parameters minus loss after adaptation. Above 0 adapting to a task helps, "
            "which is what the meta-parameters are learned for.",
            "streammeta_adaptation_gain{@}",
        ),
        figure(
            "Events learned a second",
            "Events learned from, averaged over 5 minutes.",
            'instance_outcome:streammeta_events:rate5m{outcome="learned", @}',
            unit=PER_SECOND,
        ),
        figure(
            "Tasks known",
            "Tasks whose memory is in the state, at the last checkpoint.",
            'streammeta_tasks{state="stored", @}',
        ),
        figure(
            "Learner",
            "The algorithm in use, and the version of streammeta that runs it.",
            "streammeta_build_info{@}",
            legend="{{algorithm}}, streammeta {{version}}",
        ),
    ]


def rows() -> Mapping[str, Sequence[Builder[Panel]]]:
    """Below."""
    return {"Loss": _loss(), "Steps": _steps(), "Tasks": _tasks()}


def _loss() -> Sequence[Builder[Panel]]:
    return [
        curves(
            "Prequential loss",
            "Fading mean of the query loss before each event is learned from: at the meta-parameters "
            "(meta), after one inner adaptation (adapted), at the task's own memory (memory). Learning "
            "shows as adapted and memory falling below meta. A step up in all three is a change in the "
            "data.",
            {"{{phase}}": "streammeta_prequential_loss{@}"},
            span=12,
        ),
        curves(
            "Prequential loss, logarithmic",
            "The same on a logarithmic axis: steady exponential convergence is a straight line.",
            {"{{phase}}": "streammeta_prequential_loss{@}"},
            span=12,
            log=True,
        ),
        curves(
            "Adaptation gain over time",
            "Loss at the meta-parameters minus loss after adaptation. Near 0: tasks are alike, or the "
            "inner rate is too small. Below 0: the inner rate is too large.",
            {"gain": "streammeta_adaptation_gain{@}"},
            span=12,
        ),
        curves(
            "Memory tracking error",
            "Fading mean of the distance between a task's memory and the model freshly adapted to it: what"
            " the convergence theory of MOML bounds. It should fall to a floor; a larger beta tracks "
            "faster and averages less. Learners without memory show none.",
            {"tracking error": "streammeta_memory_tracking_error{@}"},
            span=12,
            least=0,
        ),
        curves(
            "Prequential accuracy",
            "Of classifiers alone: fading mean of the share of the query set that was classified rightly "
            "before each event is learned from, at the meta-parameters (meta), after one inner adaptation "
            "(adapted), at the task's own memory (memory).",
            {"{{phase}}": "streammeta_prequential_accuracy{@}"},
            unit="percentunit",
            span=24,
            least=0,
        ),
    ]


def _steps() -> Sequence[Builder[Panel]]:
    return [
        curves(
            "Meta-gradient",
            "Euclidean norm of the last meta-gradient, before clipping. Spikes that repeat ask for "
            "outer.clip_norm or a smaller rate.",
            {"norm": "streammeta_meta_gradient_norm{@}"},
            log=True,
        ),
        curves(
            "Meta-update",
            "How far the last event moved the meta-parameters. It should shrink as the loss settles.",
            {"norm": "streammeta_meta_update_norm{@}"},
            log=True,
        ),
        curves(
            "Learning rates",
            "The rates in force in the inner and the meta loop; SIGHUP and schedules change them.",
            {"{{loop}}": "streammeta_learning_rate{@}"},
            log=True,
        ),
    ]


def _tasks() -> Sequence[Builder[Panel]]:
    return [
        ranking(
            "Worst tasks",
            "The tasks with the highest fading loss among those seen last; __other__ is the mean of the "
            "rest. Tasks far above it are unlike the others, or their data is broken.",
            "sort_desc(streammeta_task_loss{@})",
            "{{task}}",
            span=12,
        ),
        curves(
            "Staleness",
            "Events learned since an event's task was last seen (first visits left out). The older a "
            "memory, the further the meta-parameters have moved away from it.",
            {
                f"{share} of events": f"histogram_quantile({quantile}, "
                "rate(streammeta_memory_staleness_events_bucket{@}[$__rate_interval]))"
                for share, quantile in (("half", 0.5), ("90 %", 0.9), ("99 %", 0.99))
            },
            span=12,
            least=0,
        ),
        curves(
            "Tasks",
            "Tasks known to the state (stored) and held in memory (cached), at the last checkpoint. Where "
            "stored outgrows cached, memories are read from disk: raise state.cache_tasks if the load "
            "stage is slow.",
            {"{{state}}": "streammeta_tasks{@}"},
            span=12,
            least=0,
        ),
        curves(
            "Got worse",
            "Detections an hour: tasks whose losses rose (task), and rises of the stream's loss as a whole "
            "(global). Only with drift.detector on; the page lists the tasks.",
            {"{{scope}}": "rate(streammeta_drift_detections_total{@}[$__rate_interval]) * 3600"},
            span=12,
            least=0,
        ),
    ]
