"""What is wrong with the broker, or between it and us: checks of `trouble`."""

from collections.abc import Iterator
from typing import Final

from streammeta.observe.finding import Case, Trouble, clock_time, span, trailing_seconds

_START_SECONDS: Final = 10.0


def no_broker(case: Case) -> Iterator[Trouble]:
    """Where none answers, or none has answered yet."""
    status = case.status
    remedy = (
        "The daemon keeps trying and nothing is lost. See that the broker runs and that "
        "kafka.bootstrap_servers reaches it from this machine; the log names the cause."
    )
    if status["state"] == "disconnected":
        away = trailing_seconds(case, "connected", 0.0)
        since = f" for {span(away)}" if away >= 1 else ""
        cause = f" ({status['broker']['cause']})" if status["broker"]["cause"] else ""
        yield Trouble("no_broker", "error", f"No broker has answered{since}{cause}", remedy)
    elif status["state"] == "starting" and status["uptime_seconds"] > _START_SECONDS:
        waited = span(status["uptime_seconds"])
        yield Trouble("no_broker", "error", f"The broker was not reached yet, after {waited}", remedy)


def served_otherwise(case: Case) -> Iterator[Trouble]:
    """Where a broker is there, and yet something keeps records from coming."""
    broker = case.status["broker"]
    if case.status["state"] == "refused":
        yield Trouble(
            "refused",
            "error",
            f"The broker refuses this client: {broker['cause']}",
            "Nothing is lost. While a password or certificate is being rotated this passes; else the daemon "
            "ends with exit 77 after kafka.refused_grace_seconds. Set the new one in [kafka.client].",
        )
    if broker["service"] == "throttled":
        yield Trouble(
            "throttled",
            "warning",
            "A quota of the broker slows the learner: records come, but later",
            "Raise consumer_byte_rate or request_percentage of this user or client id (kafka-configs "
            "--describe --entity-type users), or let fewer readers share it.",
        )
    for partition, since in broker["blocked"].items():
        yield Trouble(
            "transaction_open",
            "error",
            f"Partition {partition} waits behind an open transaction since {clock_time(since)} "
            f"({span(case.now - since)})",
            "Its producer must commit or abort. Find it: kafka-transactions --bootstrap-server SERVER "
            "find-hanging --broker-id ID; the broker aborts it after the producer's transaction.timeout.ms.",
        )
    if broker["leaderless"]:
        numbers = ", ".join(map(str, broker["leaderless"]))
        yield Trouble(
            "leaderless",
            "error",
            f"No leader answers for partition {numbers}; the others are learned from",
            "See which broker is down: kafka-topics --describe --unavailable-partitions. Nothing is lost.",
        )


def held_back(case: Case) -> bool:
    """Whether it is known why records wait: no faster learner would help."""
    broker = case.status["broker"]
    return bool(broker["service"] == "throttled" or broker["blocked"] or broker["leaderless"])
