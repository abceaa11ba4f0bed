"""Outcomes for the tests of observers: everything given a plausible value, to be replaced one by one."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from streammeta.errors import Reason
from streammeta.evaluation.prequential import Prequential
from streammeta.events import Condition
from streammeta.outcomes import Checkpointed, Learned, Refused, Turned

FIRST = Learned(
    topic="tasks",
    partition=0,
    task="task-0",
    events=1,
    task_events=1,
    loss_meta=4.0,
    loss_adapted=2.0,
    loss_memory=1.0,
    task_loss=1.0,
    prequential=Prequential().fold(4.0, 2.0, 1.0, 0.5),
    gradient_norm=3.0,
    update_norm=0.03,
    tracking_error=0.5,
    staleness_events=None,
    inner_lr=0.01,
    meta_lr=0.001,
    age_seconds=0.2,
    decode_seconds=2e-6,
    load_seconds=2e-5,
    step_seconds=1e-3,
    store_seconds=2e-5,
)


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.seconds


def learned(**changes: Any) -> Learned:
    """One event learned from."""
    return replace(FIRST, **changes)


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
