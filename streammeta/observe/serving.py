"""How far behind the learner is, how the broker serves, who computes the steps: these parts of the status."""

from typing import TypedDict

from streammeta.events import Condition
from streammeta.outcomes import Executing, Turned


class Lag(TypedDict):
    """Records behind the end of the topic, in all and by partition; what is not known is None, or lacks.

    `seconds` by the records' timestamps; `eta_seconds` until nothing is behind, while lag falls.
    """

    total: int | None
    partitions: dict[str, int]
    seconds: float | None
    eta_seconds: float | None


class Broker(TypedDict):
    """How the broker serves: served, throttled, away or refused, and why.

    `blocked` names partitions that wait behind an open transaction, each with the Unix time since when;
    `leaderless` those whose leader does not answer.
    """

    service: str
    cause: str
    blocked: dict[str, float]
    leaderless: list[int]


class Engine(TypedDict):
    """Who computes the steps, by shapes of iterations, and what became of compilations in this process.

    `making` says in words which step the learning waits for now; empty while it waits for none.
    """

    compiled: int
    traced: int
    eager: int
    compiling: int
    compile_failures: int
    compile_seconds: float
    making: str


def engine_of(executing: Executing | None) -> Engine:
    """As last told; nothing before."""
    now = executing or Executing(0, 0, 0, 0, 0, 0.0)
    return {
        "compiled": now.compiled,
        "traced": now.traced,
        "eager": now.eager,
        "compiling": now.compiling,
        "compile_failures": now.failures,
        "compile_seconds": now.seconds,
        "making": now.making,
    }


def lag_of(turned: Turned | None) -> Lag:
    """As of the last turn."""
    lag = dict(turned.lag) if turned else {}
    return {
        "total": sum(lag.values()) if lag else None,
        "partitions": {str(number): lag[number] for number in sorted(lag)},
        "seconds": turned.condition.lag_seconds if turned else None,
        "eta_seconds": turned.condition.eta_seconds if turned else None,
    }


def broker_of(turned: Turned | None) -> Broker:
    """As of the last turn; away before the first."""
    condition = turned.condition if turned else Condition("away")
    return {
        "service": condition.service,
        "cause": condition.cause,
        "blocked": {str(number): since for number, since in sorted(condition.blocked.items())},
        "leaderless": sorted(condition.leaderless),
    }
