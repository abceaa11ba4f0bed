"""The consumer daemon as a process: state directory, connections, HTTP, signals, and then the loop."""

from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

import structlog
import torch
from prometheus_client import CollectorRegistry
from rich.console import Console

from consumers.learner import assemble, build_brain, restore
from streammeta import __version__
from streammeta.clock import Clock
from streammeta.config import Config
from streammeta.errors import BrokerUnavailable, ConfigError, DeadLetterFailed
from streammeta.loop import Controls, Rates
from streammeta.observe.health import Health
from streammeta.observe.logs import LogLines, configure_logging
from streammeta.observe.metrics import Metrics
from streammeta.observe.status import Snapshot, Status
from streammeta.observe.terminal import TerminalView
from streammeta.outcomes import Observer
from streammeta.signals import signals_to
from streammeta.store.directory import StateDirectory
from streammeta.store.lmdb import LmdbStore
from streammeta.store.order_log import OrderLog
from streammeta.stream.base import DeadLetters, Source
from streammeta.stream.dead_letters import KafkaDeadLetters
from streammeta.stream.kafka import KafkaSource
from streammeta.web.app import make_app
from streammeta.web.server import HttpServer

KeepGoing = Callable[[], bool]
Connect = Callable[[Config, KeepGoing], tuple[Source, DeadLetters]]


class Watchers(NamedTuple):
    """The observers that the HTTP port and the terminal show."""

    registry: CollectorRegistry
    status: Status
    health: Health
    observers: tuple[Observer, ...]


def connect_kafka(config: Config, keep_going: KeepGoing) -> tuple[Source, DeadLetters]:
    """The source and the dead letters that `[kafka]` describes; the latter are connected, in seconds."""
    return (
        KafkaSource(config.kafka, keep_going=keep_going),
        KafkaDeadLetters(config.kafka, keep_going=keep_going),
    )


def run_daemon(
    config: Config,
    *,
    read_config: Callable[[], Config],
    connect: Connect = connect_kafka,
    until_end: bool = False,
    console: Console | None = None,
    on_serving: Callable[[str], None] = lambda _: None,
) -> Snapshot:
    """Learn until a signal says stop, or until the end of the topic as it is now.

    Args:
        config: The configuration.
        read_config: Reads it again, at SIGHUP.
        connect: Makes the source and the dead letters.
        until_end: Stop at the end offsets seen at the start.
        console: A terminal for the live view; None for log lines alone.
        on_serving: Told the HTTP address as soon as it is served.

    Returns:
        The status at the end.

    Raises:
        StreammetaError: names what is wrong; its exit code is that of the process.
    """
    configure_logging(config.log.level, config.log.format)
    controls, clock = Controls(), Clock()
    with ExitStack() as stack:
        stack.enter_context(signals_to(controls))
        directory = stack.enter_context(StateDirectory(config.state.dir))
        store = stack.enter_context(closing(LmdbStore(directory.lmdb_path)))
        order_log = stack.enter_context(closing(OrderLog(directory.order_log_path)))
        brain = build_brain(config)
        begun = restore(brain, store)
        watchers = _watchers(config, clock)
        address = _serve(config, stack, watchers)
        on_serving(address)
        if console is not None:
            stack.enter_context(TerminalView(watchers.status, console, address))
        structlog.get_logger().info("serving", address=address, state=str(config.state.dir))
        try:
            source, dead_letters = connect(config, lambda: not controls.stop)
            stack.callback(source.close)
            stack.callback(dead_letters.close)
            loop = assemble(
                config,
                brain,
                begun,
                source=source,
                dead_letters=dead_letters,
                store=store,
                order_log=order_log,
                observers=watchers.observers,
                controls=controls,
                reload=lambda: _reloaded(config, read_config),
                clock=clock,
            )
            loop.run(until_end=until_end)
        except (BrokerUnavailable, DeadLetterFailed):
            # Stopped while it waited for the broker: the last commit stands, what came after is read again.
            if not controls.stop:
                raise
    return watchers.status.snapshot()


def _watchers(config: Config, clock: Clock) -> Watchers:
    registry, health = CollectorRegistry(), Health(clock.monotonic)
    names = {
        "topic": config.kafka.topic,
        "algorithm": config.algorithm.name,
        "version": __version__,
        "torch_version": str(torch.__version__),
    }
    status = Status(**names, clock=clock.monotonic, started_at_seconds=clock.now())
    metrics = Metrics(registry, **names)
    lines = LogLines(structlog.get_logger(), clock.monotonic)
    return Watchers(registry, status, health, (metrics, status, health, lines))


def _serve(config: Config, stack: ExitStack, watchers: Watchers) -> str:
    """Start the HTTP port; its address."""
    token = _token(config.http.token_file)
    app = make_app(registry=watchers.registry, status=watchers.status, health=watchers.health, token=token)
    server = HttpServer(app, config.http.host, config.http.port)
    server.start()
    stack.callback(server.stop)
    return server.address


def _token(path: str) -> str | None:
    if not path:
        return None
    try:
        token = Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(
            f'http.token_file = "{path}": {error.strerror}; name a file with a token'
        ) from error
    except UnicodeDecodeError:
        raise ConfigError(f'http.token_file = "{path}" is not text; write a token into it') from None
    if not token:
        raise ConfigError(f'http.token_file = "{path}" is empty; write a token into it')
    return token


def _reloaded(config: Config, read_config: Callable[[], Config]) -> Rates | None:
    """Take over log level and learning rates; what else changed waits for the next start."""
    logger = structlog.get_logger()
    try:
        new = read_config()
    except ConfigError as error:
        logger.warning("configuration not reloaded", reason=str(error))
        return None
    configure_logging(new.log.level, config.log.format)
    logger.info("configuration reloaded", inner_lr=new.algorithm.inner_lr, meta_lr=new.outer.lr)
    if _frozen(new) != _frozen(config):
        logger.warning("settings other than log.level and the learning rates wait for the next start")
    return Rates(new.algorithm.inner_lr, new.outer.lr)


def _frozen(config: Config) -> dict[str, object]:
    """The settings that a reload does not touch."""
    return config.model_dump(exclude={"log": {"level"}, "algorithm": {"inner_lr"}, "outer": {"lr"}})
