"""Predictions and the page of a state that another process writes: it is followed from commit to commit."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final, NamedTuple

import structlog
import torch
from prometheus_client import CollectorRegistry, Info, ProcessCollector

from streammeta import __version__
from streammeta.config import Config
from streammeta.config.show import document
from streammeta.config.token import read_token
from streammeta.distributed.homes import homes_in
from streammeta.distributed.place import ranks_in
from streammeta.distributed.resharding.followed import FollowedGroup
from streammeta.errors import StateError
from streammeta.events import Condition
from streammeta.models.network import Network
from streammeta.observe.beginning import first_of
from streammeta.observe.health import Health
from streammeta.observe.history import History
from streammeta.observe.history_file import unpack as unpack_history
from streammeta.observe.logs import configure_logging
from streammeta.observe.status import Status
from streammeta.observe.task_index import TaskIndex
from streammeta.outcomes import Checkpointed, Turned
from streammeta.runtime.blueprint import learner_of
from streammeta.runtime.controls import Controls
from streammeta.runtime.predicting import predictor_for
from streammeta.runtime.signals import signals_to
from streammeta.serving.commits import Commits
from streammeta.serving.desk import Desk
from streammeta.state.checkpoint import Checkpoint, Origin, unpack
from streammeta.state.directory import StateDirectory
from streammeta.state.followed import FollowedStore
from streammeta.state.store import TaskStats
from streammeta.web.app import make_app
from streammeta.web.guard import is_loopback
from streammeta.web.server import HttpServer
from streammeta.web.shown import Shown

LOOK_SECONDS: Final = 0.25
"""How often the page's observers look for a new commit; a prediction looks for itself."""
LISTING_SHARE: Final = 0.1
"""The share of the time that reading the list of tasks may take."""

log = structlog.get_logger(__name__)


Followed = FollowedStore | FollowedGroup


class Served(NamedTuple):
    """What is served, and where.

    Attributes:
        directory: The state directory; a group's, with those of its ranks, too.
        config: What its learner was configured with.
        network: Its model, as a state of this origin has it.
        origin: What the state was made with.
        host, port, token_file: As `[http]` has them.
    """

    directory: Path
    config: Config
    network: Network
    origin: Origin
    host: str
    port: int
    token_file: str = ""


class Follower:
    """What the page shows, brought up to the last commit by `look`."""

    def __init__(self, store: Followed, served: Served) -> None:
        self._store = store
        self._number = self._listed = -1
        self._list_at, self._failed = 0.0, False
        self._topic = served.config.kafka.topic
        names = {
            "version": __version__,
            "algorithm": served.config.algorithm.name,
            "torch_version": str(torch.__version__),
        }
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        build = Info("streammeta_build", "Version, algorithm and PyTorch.", registry=self.registry)
        build.info({"torch": names["torch_version"], **{key: names[key] for key in ("version", "algorithm")}})
        self.health, self.history = Health(time.monotonic), History(time.time)
        self.status = Status(topic=self._topic, clock=time.monotonic, started_at_seconds=time.time(), **names)
        self.tasks = TaskIndex(time.time)

    def look(self) -> None:
        """Take over a new commit, if there is one; what cannot be read is told, once."""
        condition = Condition()
        try:
            self._take()
            self._failed = False
        except StateError as error:
            condition = Condition("away", str(error))
            if not self._failed:
                log.warning("the state cannot be read", reason=str(error))
            self._failed = True
        turned = Turned(self._topic, condition.serving, restoring=False, lag={}, condition=condition)
        self.status(turned)
        self.health(turned)

    def stored(self, task: str) -> TaskStats | None:
        """A task's statistics."""
        with self._store.snapshot() as snapshot:
            row = snapshot.get(task)
            return None if row is None else row.stats

    def _take(self) -> None:
        with self._store.snapshot() as snapshot:
            if snapshot.number != self._number:
                meta = snapshot.load()
                if meta is None:
                    raise StateError("nothing was committed yet")
                self._tell(unpack(meta), meta.history, snapshot.count())
                self._number = snapshot.number
            began = time.monotonic()
            if snapshot.number != self._listed and began >= self._list_at:
                self.tasks.begin(self.status.snapshot()["events"], snapshot.stats())
                self._list_at = began + (time.monotonic() - began) / LISTING_SHARE
                self._listed = snapshot.number

    def _tell(self, checkpoint: Checkpoint, history: bytes, tasks: int) -> None:
        state, progress = checkpoint.state, checkpoint.progress
        if history:
            self._resume(history)
        first = first_of(self.history.view().events)
        rates = state.inner_lr.item(), state.meta_lr.item()
        self.status.begin(progress.events, *rates, progress.prequential, first)
        written_at_seconds = self._store.written_at_seconds()
        saved = Checkpointed(True, 0.0, 0, written_at_seconds, 0, tasks, checkpoint.quarantine)
        self.status.written(saved, max(0.0, time.time() - written_at_seconds))
        self.tasks(saved)

    def _resume(self, history: bytes) -> None:
        try:
            kept = unpack_history(history)
            self.history.resume(kept.events, kept.time, kept.marks)
        except ValueError as error:
            log.warning("no curves", reason=str(error))


def followed(base: Path, stores: Sequence[FollowedStore]) -> Followed:
    """The one state, or those of all ranks as one."""
    if not ranks_in(base):
        return stores[0]
    return FollowedGroup(base, stores, lambda checkpoint: learner_of(checkpoint).merge)


def serve(served: Served, *, on_serving: Callable[[str], None] = lambda _: None) -> None:
    """Serve until a signal says stop.

    Raises:
        StateError: there is no state.
        ConfigError: the address cannot be had, or the token file cannot be used.
    """
    configure_logging(served.config.log.level, served.config.log.format)
    controls, config = Controls(), served.config
    with ExitStack() as stack:
        stack.enter_context(signals_to(controls))
        stores = [
            stack.enter_context(closing(FollowedStore(StateDirectory(home).lmdb_path)))
            for home in homes_in(served.directory)
        ]
        follower = Follower(followed(served.directory, stores), served)
        follower.look()
        desk = Desk(
            [Commits(store, served.origin) for store in stores],
            predictor_for(config, served.network, aside=True),
            time.time,
            config.kafka.max_event_bytes,
        )
        shown = Shown(
            registry=follower.registry,
            status=follower.status,
            health=follower.health,
            history=follower.history,
            tasks=follower.tasks,
            settings=document(config),
            stored=follower.stored,
            now=time.time,
        )
        token, local = read_token(served.token_file), is_loopback(served.host)
        server = HttpServer(make_app(shown, token=token, local=local, desk=desk), served.host, served.port)
        server.start()
        stack.callback(server.stop)
        log.info("serving", address=server.address, state=str(served.directory))
        on_serving(server.address)
        while not controls.stop:
            follower.look()
            time.sleep(LOOK_SECONDS)
        follower.status.stop()
