"""Who watches a federation: the daemon's observers, and its port with the metrics and the live page."""

import time
from contextlib import ExitStack
from typing import Any, NamedTuple

import structlog
import torch

from streammeta import __version__
from streammeta.clock import Clock
from streammeta.config import Config
from streammeta.config.show import document
from streammeta.federated.book import TOPIC, Book
from streammeta.federated.metrics import FederatedMetrics
from streammeta.observe.health import Health
from streammeta.observe.history import History
from streammeta.observe.history_file import pack, unpack
from streammeta.observe.logs import LogLines
from streammeta.observe.machine import machine
from streammeta.observe.metrics import Metrics, Registry
from streammeta.observe.status import Status
from streammeta.observe.task_index import TaskIndex
from streammeta.outcomes import Outcome, Turned
from streammeta.state.store import Store
from streammeta.web.port import open_port
from streammeta.web.shown import Shown


class Watchers(NamedTuple):
    """The daemon's observers, and what a federation counts beside."""

    registry: Registry
    status: Status
    health: Health
    history: History
    tasks: TaskIndex
    lines: LogLines
    metrics: Metrics
    federated: FederatedMetrics

    @classmethod
    def of(cls, config: Config, book: Book, store: Store, clock: Clock) -> "Watchers":
        """Made, with what the state brings along: its curves go on."""
        names = {
            "topic": TOPIC,
            "algorithm": config.algorithm.name,
            "version": __version__,
            "torch_version": str(torch.__version__),
        }
        registry = Registry()
        status = Status(**names, clock=clock.monotonic, started_at_seconds=clock.now())
        state, progress = book.state, book.progress
        status.begin(progress.events, state.inner_lr.item(), state.meta_lr.item(), progress.prequential)
        tasks = TaskIndex(clock.now)
        tasks.begin(progress.events, store.stats())
        return cls(
            registry,
            status,
            Health(clock.monotonic),
            _resumed(store, clock),
            tasks,
            LogLines(structlog.get_logger(), clock.monotonic),
            Metrics(registry, **names, worst_tasks=config.http.metrics_tasks),
            FederatedMetrics(registry),
        )

    def tell(self, outcome: Outcome) -> None:
        """Have all observers fold it."""
        for observe in (self.metrics, self.status, self.health, self.history, self.tasks, self.lines):
            observe(outcome)

    def turn(self) -> None:
        """A sign of life."""
        self.tell(Turned(TOPIC, connected=True, restoring=False, lag={}))

    def curves(self, config: Config) -> bytes:
        """The history as the state keeps it."""
        return pack(self.history, {"settings": document(config), "machine": machine()})


def serve(config: Config, stack: ExitStack, watchers: Watchers, store: Store) -> str:
    """Start the port of `[http]`; its address. It is closed with the stack.

    Raises:
        ConfigError: the address cannot be had, or the token file cannot be used.
    """
    settings: dict[str, Any] = document(config)
    shown = Shown(
        registry=watchers.registry,
        status=watchers.status,
        health=watchers.health,
        history=watchers.history,
        tasks=watchers.tasks,
        settings=settings,
        stored=lambda task: None if (row := store.get(task)) is None else row.stats,
        now=time.time,
    )
    return open_port(stack, shown, config.http)


def _resumed(store: Store, clock: Clock) -> History:
    """The curves of the state so far; those that cannot be read begin anew."""
    history, meta = History(clock.now), store.load()
    if meta is not None and meta.history:
        try:
            kept = unpack(meta.history)
            history.resume(kept.events, kept.time)
        except ValueError as error:
            structlog.get_logger().warning("history not resumed: the curves begin anew", reason=str(error))
    return history
