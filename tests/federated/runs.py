"""Federations of sine waves within this process."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from flwr.app import Context, RecordDict

from streammeta.clock import Clock
from streammeta.federated import client_app, server_app
from streammeta.federated.plan import Plan
from streammeta.federated.rounds import Report
from streammeta.federated.server import state_of
from streammeta.runtime.controls import Controls
from streammeta.state.checkpoint import Checkpoint, unpack
from streammeta.state.directory import StateDirectory
from streammeta.state.lmdb_store import LmdbStore
from tests.federated.here import Fault, Here


def plan_of(directory: Path, **choices: Any) -> Plan:
    """Four waves, three rounds, two local steps; small steps that move the parameters."""
    given: dict[str, Any] = {
        "clients": 4,
        "unseen": 0,
        "fraction": 1.0,
        "rounds": 3,
        "local_steps": 2,
        "shots": 3,
        "lr": 0.02,
        "inner_lr": 0.02,
        "overrides": ("model.dtype=float64", "model.args={sizes = [1, 8, 1]}", "algorithm.order=second"),
    }
    return Plan(directory=directory, **{**given, **choices})


class Ticking:
    """A clock that moves on when somebody waits."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def read(self) -> float:
        """Now."""
        return self.seconds

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.seconds += seconds


def run(
    plan: Plan,
    *,
    faults: dict[tuple[int, int], Fault] | None = None,
    controls: Controls | None = None,
    grid: Here | None = None,
    **more: Any,
) -> tuple[Report, Here]:
    """Make the rounds of the plan; what came of it, and the grid with all that was sent."""
    app = client_app(plan.client_of(), plan.config(), memories=state_of(plan.directory), test_steps=2)
    grid = grid or Here.of(app, plan.clients + plan.unseen, faults)
    reports: list[Report] = []
    clock = Ticking()
    server = server_app(
        plan.config(),
        replace(plan.federation(), nodes=len(grid.contexts)),
        controls=controls,
        on_end=reports.append,
        clock=Clock(clock.read, clock.read),
        pause=clock.wait,
        **more,
    )
    server(grid, Context(1, 1, {}, RecordDict(), {}))
    return reports[0], grid


def state_in(directory: Path) -> Checkpoint:
    """What the server committed."""
    store = LmdbStore(StateDirectory(directory).lmdb_path, readonly=True)
    try:
        meta = store.load()
    finally:
        store.close()
    assert meta is not None
    return unpack(meta)
