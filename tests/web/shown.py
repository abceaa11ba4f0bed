"""A page's worth of observers without a daemon, for tests of the port and the page."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry

from streammeta.config import Config
from streammeta.config.show import document
from streammeta.observe.health import Health
from streammeta.observe.history import History
from streammeta.observe.metrics import Metrics
from streammeta.observe.status import Status
from streammeta.observe.task_index import TaskIndex
from streammeta.outcomes import Outcome
from streammeta.web.app import make_app
from streammeta.web.server import HttpServer
from streammeta.web.shown import Shown
from tests.observe.outcomes import Clock

if TYPE_CHECKING:
    from streammeta.state.store import TaskStats


class Daemon:
    """Observers, a clock that the test moves, and the address of a server that shows them."""

    def __init__(
        self,
        token: str | None = None,
        *,
        settings: dict[str, Any] | None = None,
        now: Callable[[], float] | None = None,
        port: int = 0,
        local: bool = True,
        guarded: tuple[str, ...] = (),
    ) -> None:
        self.clock = Clock()
        clock = now or self.clock
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry, topic="t", algorithm="moml", version="1", torch_version="2")
        self.health = Health(clock)
        self.history = History(clock)
        self.tasks = TaskIndex(clock)
        self.stored: dict[str, TaskStats] = {}
        self.status = Status(
            topic="t",
            algorithm="moml",
            version="1",
            torch_version="2",
            clock=clock,
            started_at_seconds=time.time(),
        )
        self.challengers: list[dict[str, Any]] = []
        self.learners: list[dict[str, Any]] = []
        self.shown = Shown(
            registry=self.registry,
            status=self.status,
            health=self.health,
            history=self.history,
            tasks=self.tasks,
            settings=settings or document(Config()),
            stored=self.stored.get,
            now=clock,
            challengers=lambda: self.challengers,
            learners=lambda: self.learners,
        )
        self.server = HttpServer(
            make_app(self.shown, token=token, local=local, guarded=guarded), "127.0.0.1", port
        )

    def tell(self, *outcomes: Outcome) -> None:
        """Tell every observer."""
        for outcome in outcomes:
            for observer in (self.metrics, self.health, self.status, self.history, self.tasks):
                observer(outcome)
