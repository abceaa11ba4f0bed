"""What a state tells of its run: the curves in it, its tasks, its settings, and what it ran on."""

import heapq
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from streammeta.config.secret import masked
from streammeta.errors import Reason
from streammeta.observe.beginning import first_of
from streammeta.observe.catalogue import DROPPED as DROP_REASONS
from streammeta.observe.catalogue import PHASES
from streammeta.observe.history import DROPPED, History, View
from streammeta.observe.history_file import unpack
from streammeta.observe.rates import as_configured
from streammeta.state.checkpoint import Checkpoint
from streammeta.state.store import TaskStats

MAX_TASKS: Final = 1000
"""Tasks in a report: the worst."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run as a report shows it.

    Attributes:
        name: Where it was read from.
        checkpoint: The meta state.
        history: Its curves; empty where the state holds none.
        settings: The configuration, secrets masked; where it was not kept, what the state depends on.
        machine: What it ran on.
        tasks: Those in quarantine, and the worst of the others.
        known: How many there are.
    """

    name: str
    checkpoint: Checkpoint
    history: View
    settings: Mapping[str, Any]
    machine: Mapping[str, Any]
    tasks: list[tuple[str, TaskStats]]
    known: int


def read_run(
    name: str, checkpoint: Checkpoint, history: bytes, tasks: Iterable[tuple[str, TaskStats]], known: int
) -> Run:
    """The run that a state is of.

    Raises:
        ValueError: the history is of another version, or damaged.
    """
    held = checkpoint.quarantine
    worst = heapq.nlargest(MAX_TASKS, tasks, key=lambda item: (item[0] in held, _worse(item[1])))
    kept = unpack(history) if history else None
    fit = {section: masked((section,), dict(table)) for section, table in checkpoint.origin.fit.items()}
    return Run(
        name=name,
        checkpoint=checkpoint,
        history=kept.view() if kept else History(lambda: 0.0).view(),
        settings=kept.notes["settings"] if kept else fit,
        machine=kept.notes["machine"] if kept else {},
        tasks=worst,
        known=known,
    )


def summary(run: Run) -> dict[str, Any]:
    """The run as `/api/v1/status` would tell it; what only a running daemon knows is None."""
    means, state = run.checkpoint.progress.prequential, run.checkpoint.state
    first = first_of(run.history.events)
    refused = run.checkpoint.refused
    return {
        "version": run.machine.get("streammeta", "–"),
        "torch": run.machine.get("torch", "–"),
        "algorithm": run.checkpoint.origin.algorithm,
        "topic": run.settings.get("kafka", {}).get("topic", "–"),
        "started_at_seconds": 0.0,
        "uptime_seconds": None,
        "state": "recorded",
        "events": run.checkpoint.progress.events,
        "events_per_second": _rate(run.history),
        "outcomes": {"dead_letter": sum(refused.values())},
        "dead_letters": {str(reason): refused.get(reason, 0) for reason in Reason},
        "examples_dropped": _dropped(run.history),
        "losses": {
            phase: {
                "first": _known(getattr(first, phase)) if first else None,
                "now": _known(mean.mean),
                "window": _known(window.mean),
            }
            for phase, mean, window in zip(PHASES, means[:3], means.windows[:3], strict=True)
        },
        "accuracies": {
            phase: {"now": _known(mean.mean), "window": _known(window.mean)}
            for phase, mean, window in zip(PHASES, means.accuracies, means.windows[3:], strict=True)
        },
        "adaptation_gain": _known(means.meta.mean - means.adapted.mean),
        "learning_rates": {
            "inner": as_configured(state.inner_lr.item()),
            "meta": as_configured(state.meta_lr.item()),
        },
        "lag": None,
        "tasks": {"stored": run.known, "cached": None, "quarantined": len(run.checkpoint.quarantine)},
        "checkpoint": None,
        "replayed": None,
        "troubles": [],
    }


def facts(run: Run, now: datetime) -> dict[str, dict[str, Any]]:
    """Where the run comes from, by heading."""
    offsets = {f"next offset, partition {p}": n for p, n in sorted(run.checkpoint.positions.items())}
    return {
        "report": {"of": run.name, "made": now.astimezone(UTC).isoformat(timespec="seconds")},
        "state": {
            "config_hash": run.checkpoint.origin.config_hash[:16],
            **offsets,
        },
        "machine": dict(run.machine),
    }


def _worse(stats: TaskStats) -> float:
    return -math.inf if math.isnan(stats.loss) else stats.loss


def _dropped(history: View) -> dict[str, int]:
    """Examples dropped in the life that the curves show."""
    totals = {reason: np.nansum(history.time.column(f"{DROPPED}{reason}")) for reason in DROP_REASONS}
    return {reason: int(total) for reason, total in totals.items()}


def _rate(history: View) -> float | None:
    """Events a second while there were any."""
    curve = history.time
    learned, seconds = (
        curve.buckets[:, curve.columns.index(name)] for name in ("learned", "covered_seconds")
    )
    busy = float(seconds[learned > 0].sum())
    return float(learned.sum()) / busy if busy > 0 else None


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
