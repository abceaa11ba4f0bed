"""What goes along with a daemon's loop from its start to its end: nobody, challengers, or a champion."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from prometheus_client import CollectorRegistry

from streammeta.observe.health import Health
from streammeta.observe.history import History
from streammeta.observe.status import Status
from streammeta.outcomes import Observer
from streammeta.runtime.controls import Controls


class Place(NamedTuple):
    """The daemon as its company finds it."""

    registry: CollectorRegistry
    status: Status
    health: Health
    history: History
    controls: Controls


class Company(Protocol):
    """Told when the daemon begins and ends; never in the way of what it learns."""

    def join(self, place: Place) -> Sequence[Observer]:
        """The daemon has its state and begins; who wants to hear its outcomes."""

    def serving(self, address: str) -> None:
        """Its port is served there."""

    def reloaded(self) -> None:
        """It reads its configuration again, at SIGHUP."""

    def challengers(self) -> Sequence[Mapping[str, Any]]:
        """What its page shows of others that learn beside it."""

    def curves(self) -> Sequence[Mapping[str, Any]]:
        """Their curves, and its own, over its own events."""

    def wait(self) -> None:
        """Its loop has come to the end of the topic: return when the company has, or shall stop."""

    def close(self) -> None:
        """It ends. May be called twice."""


class Alone:
    """No company."""

    def join(self, place: Place) -> Sequence[Observer]:  # noqa: ARG002 (the protocol's)
        """Nobody listens."""
        return ()

    def serving(self, address: str) -> None:
        """Nobody asks."""

    def reloaded(self) -> None:
        """Nobody else."""

    def challengers(self) -> Sequence[Mapping[str, Any]]:
        """There are none."""
        return ()

    def curves(self) -> Sequence[Mapping[str, Any]]:
        """There are none."""
        return ()

    def wait(self) -> None:
        """For nobody."""

    def close(self) -> None:
        """Nothing."""
