"""Outcomes for the tests of observers: everything given a plausible value, to be replaced one by one."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from streammeta.errors import Reason
from streammeta.evaluation.prequential import Prequential
from streammeta.events import Condition
from streammeta.learner.folding import Means, Numbers
from streammeta.observe.catalogue import PHASES
from streammeta.outcomes import Checkpointed, Learned, RankView, Refused, Stages, Turned, United

FIRST: dict[str, Any] = {
    "partition": 0,
    "task": "task-0",
    "events": 1,
    "task_events": 1,
    "loss_meta": 4.0,
    "loss_adapted": 2.0,
    "loss_memory": 1.0,
    "task_loss": 1.0,
    "prequential": Prequential().fold(4.0, 2.0, 1.0, 0.5),
    "gradient_norm": 3.0,
    "update_norm": 0.03,
    "tracking_error": 0.5,
    "staleness_events": math.nan,
    "inner_lr": 0.01,
    "meta_lr": 0.001,
    "age_seconds": 0.2,
    "stages": Stages(decode=2e-6, load=2e-5, step=1e-3, store=2e-5),
}


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.seconds


def learned(**changes: Any) -> Learned:
    """One event learned from."""
    return learned_together(changes)


def learned_together(*events: dict[str, Any]) -> Learned:
    """Events learned from, as one outcome; of what is not an event's own the last one counts."""
    assert all(change.keys() <= FIRST.keys() for change in events)
    rows = [FIRST | change for change in events]

    def column(name: str) -> Numbers:
        return np.array([row[name] for row in rows], np.float64)

    return Learned(
        topic="tasks",
        partitions=[row["partition"] for row in rows],
        tasks=[row["task"] for row in rows],
        events=rows[-1]["events"],
        task_events=np.array([row["task_events"] for row in rows], np.int64),
        losses=np.stack([column(f"loss_{phase}") for phase in PHASES], axis=1),
        task_losses=column("task_loss"),
        means=np.array([[getattr(row["prequential"], name).mean for name in Means._fields] for row in rows]),
        prequential=rows[-1]["prequential"],
        gradient_norms=column("gradient_norm"),
        update_norms=column("update_norm"),
        tracking_errors=column("tracking_error"),
        staleness_events=column("staleness_events"),
        inner_lr=rows[-1]["inner_lr"],
        meta_lrs=column("meta_lr"),
        ages_seconds=column("age_seconds"),
        stages=rows[-1]["stages"],
    )


def refused(reason: Reason = Reason.BAD_TENSOR, message: str = "x has no shape") -> Refused:
    """One dead letter."""
    return Refused("tasks", 0, 7, reason, message)


def turned(
    *,
    connected: bool = True,
    restoring: bool = False,
    lag: Iterable[int] = (5,),
    replayed: float = 1.0,
    due: bool = False,
    **known: Any,
) -> Turned:
    """One turn of the loop; `lag` of partitions 0, 1, …; `known` of the broker's condition."""
    condition = Condition(**({"service": "served" if connected else "away"} | known))
    lags = dict(enumerate(lag))
    return Turned("tasks", condition.serving, restoring, lags, replayed, condition, due)


def checkpointed(*, ok: bool = True, at: float = 1_700_000_000.0) -> Checkpointed:
    """One commit."""
    return Checkpointed(ok, 0.012, 34_000, at, 10, 100)


def united() -> United:
    """The end of a round of two ranks, seen from the second."""
    told = [RankView(40, 10, 3, 0.0, ended=False), RankView(90, 30, None, 0.5, ended=True)]
    return United(4, 1, 0.75, 0.125, 2.0, 0.25, 14_088, told)
