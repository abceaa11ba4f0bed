"""The consumer daemon as a process: state directory, connections, HTTP, signals, and then the loop."""

import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext, redirect_stdout
from typing import Any, NamedTuple

import structlog
import torch
from prometheus_client import CollectorRegistry
from rich.console import Console

from streammeta import __version__
from streammeta.clock import Clock
from streammeta.config import Config
from streammeta.config.show import document
from streammeta.errors import BrokerUnavailable, ConfigError, GroupLost, Interrupted, Unacknowledged
from streammeta.observe.beginning import first_of
from streammeta.observe.health import Health
from streammeta.observe.history import History
from streammeta.observe.history_file import pack as pack_history
from streammeta.observe.history_file import unpack as unpack_history
from streammeta.observe.logs import LogLines, configure_logging, tell_cause
from streammeta.observe.machine import machine
from streammeta.observe.metrics import Metrics, Registry
from streammeta.observe.snapshot import Snapshot
from streammeta.observe.status import Status
from streammeta.observe.task_index import TaskIndex
from streammeta.observe.terminal import TerminalView
from streammeta.outcomes import Observer
from streammeta.programs.company import Alone, Company, Place
from streammeta.programs.copying import CopyKeeper
from streammeta.programs.exposure import warn_of_exposures
from streammeta.programs.ranks import Ranks
from streammeta.programs.reloading import reloaded
from streammeta.runtime.assembly import assemble
from streammeta.runtime.blueprint import Blueprint, build_blueprint, restore
from streammeta.runtime.compiling import compiled_steps, kept_traces
from streammeta.runtime.controls import Controls, Rates
from streammeta.runtime.predicting import predictor_for
from streammeta.runtime.signals import signals_to
from streammeta.runtime.tape import NoTape, Tape
from streammeta.serving.commits import Commits
from streammeta.serving.desk import Desk
from streammeta.state.checkpoint import Checkpoint
from streammeta.state.directory import StateDirectory
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.order_log import OrderLog
from streammeta.state.store import Store
from streammeta.state.trials import Trials
from streammeta.stream.base import Answers, DeadLetters, Source
from streammeta.stream.kafka.answers import KafkaAnswers
from streammeta.stream.kafka.dead_letters import KafkaDeadLetters
from streammeta.stream.kafka.source import KafkaSource
from streammeta.web.port import open_port
from streammeta.web.shown import Shown

KeepGoing = Callable[[], bool]
Connect = Callable[[Config, KeepGoing], tuple[Source, DeadLetters]]
ConnectAnswers = Callable[[Config, KeepGoing], Answers | None]
Taping = Callable[[Checkpoint], AbstractContextManager[Tape]]
"""Makes the tape for a state; left when the loop has ended, with the error if there was one."""


class Watchers(NamedTuple):
    """The observers that the HTTP port and the terminal show."""

    registry: CollectorRegistry
    metrics: Metrics
    status: Status
    health: Health
    history: History
    tasks: TaskIndex
    lines: LogLines
    observers: tuple[Observer, ...]


def connect_kafka(config: Config, keep_going: KeepGoing) -> tuple[Source, DeadLetters]:
    """The source and the dead letters that `[kafka]` describes; the latter are connected, in seconds."""
    return (
        KafkaSource(config.kafka, keep_going=keep_going),
        KafkaDeadLetters(config.kafka, keep_going=keep_going),
    )


def answer_on_kafka(config: Config, keep_going: KeepGoing) -> Answers | None:
    """Where `predict.output_topic` says, connected; None where it says nothing."""
    topic = config.predict.output_topic
    return KafkaAnswers(config.kafka, topic, keep_going=keep_going) if topic else None


def no_tape(_begun: Checkpoint) -> AbstractContextManager[Tape]:
    """Nothing is recorded."""
    return nullcontext(NoTape())


def run_daemon(
    config: Config,
    *,
    read_config: Callable[[], Config],
    connect: Connect = connect_kafka,
    connect_answers: ConnectAnswers = answer_on_kafka,
    taping: Taping = no_tape,
    until_end: bool = False,
    console: Console | None = None,
    on_serving: Callable[[str], None] = lambda _: None,
    company: Company | None = None,
    ranks: Ranks | None = None,
    watched: bool = False,
) -> Snapshot:
    """Learn until a signal says stop, or until the end of the topic as it is now.

    Args:
        config: The configuration.
        read_config: Reads it again, at SIGHUP.
        connect: Makes the source and the dead letters.
        connect_answers: Makes where answers to records without labels go, if anywhere.
        taping: Makes what goes along with the loop: a recorder.
        until_end: Stop at the end offsets seen at the start.
        console: A terminal for the live view; None for log lines alone.
        on_serving: Told the HTTP address as soon as it is served.
        company: Who goes along.
        ranks: The group that it is part of; None where it learns alone.
        watched: Try what two processes died of, while another watches, and stop when that went well.

    Returns:
        The status at the end.

    Raises:
        StreammetaError: names what is wrong; its exit code is that of the process.
    """
    configure_logging(config.log.level, config.log.format)
    warn_of_exposures(config)
    controls, clock, received, company = Controls(), Clock(), deque[str](), company or Alone()
    with ExitStack() as stack:
        stack.enter_context(signals_to(controls, received.append))
        directory = stack.enter_context(StateDirectory(config.state.dir))
        store = stack.enter_context(closing(LmdbStore(directory.lmdb_path)))
        order_log = stack.enter_context(
            closing(OrderLog(directory.order_log_path, expected=store.load() is not None))
        )
        blueprint = _blueprint(config)
        begun = restore(blueprint, store)
        if config.model.init and begun.positions:
            structlog.get_logger().info("model.init not read: the state goes on from its own parameters")
        compiled = compiled_steps(config)
        if compiled is not None:
            stack.callback(compiled.close)
        tape = stack.enter_context(taping(begun))
        lines = LogLines(structlog.get_logger(), clock.monotonic, progress=console is None, received=received)
        watchers = _watchers(config, begun, store, lines, clock)
        stack.callback(company.close)
        listeners = company.join(_place(watchers, controls))
        settings = document(config)
        keeper = stack.enter_context(closing(CopyKeeper(config.state, directory, store, clock.monotonic)))
        predictor = predictor_for(config, blueprint.network, aside=True)
        most_bytes = config.kafka.max_event_bytes
        desk = Desk([Commits(store)], predictor, time.time, most_bytes, watchers.metrics.asked)

        def reload() -> Rates | None:
            company.reloaded()
            return reloaded(config, read_config)

        address = _serve(config, stack, watchers, settings, store, desk, company)
        on_serving(address)
        company.serving(address)
        if console is not None:
            stack.enter_context(TerminalView(watchers.status, console, address))
        structlog.get_logger().info("serving", address=address, state=str(config.state.dir))
        try:
            member = None if ranks is None else ranks.join(stack, config, controls, watchers.health)
            source, dead_letters = connect(config, lambda: not controls.stop)
            stack.callback(source.close)
            stack.callback(dead_letters.close)
            answers = connect_answers(config, lambda: not controls.stop)
            if answers is not None:
                stack.callback(answers.close)
            trials = Trials(directory.trials_path, acquitted=controls.end if watched else None)
            loop = assemble(
                config,
                blueprint,
                begun,
                source=source,
                dead_letters=dead_letters,
                answers=answers,
                store=store,
                order_log=order_log,
                trials=stack.enter_context(closing(trials)),
                observers=(*watchers.observers, keeper, *listeners),
                controls=controls,
                reload=reload,
                clock=clock,
                history=lambda: pack_history(watchers.history, {"settings": settings, "machine": machine()}),
                tape=tape,
                compiled=compiled,
                member=member,
            )
            with redirect_stdout(sys.stderr):  # what a model prints is no data
                loop.run(until_end=until_end)
            if until_end and not controls.stop:
                company.wait()
        except ConfigError as error:
            tell_cause(error)
            raise
        except (BrokerUnavailable, GroupLost, Unacknowledged, Interrupted):
            # Stopped while it waited: the last commit stands, what came after is read again.
            if not controls.stop:
                raise
        finally:
            lines.end()
            watchers.status.stop()
        last = watchers.status.snapshot()
        _tell_stopped(last, "signal" if controls.stop else "end of topic")
    return last


def _place(watchers: Watchers, controls: Controls) -> Place:
    return Place(watchers.registry, watchers.status, watchers.health, watchers.history, controls)


def _blueprint(config: Config) -> Blueprint:
    try:
        return build_blueprint(config, kept=kept_traces(config))
    except ConfigError as error:
        tell_cause(error)
        raise


def _watchers(config: Config, begun: Checkpoint, store: Store, lines: LogLines, clock: Clock) -> Watchers:
    registry, health = Registry(), Health(clock.monotonic)
    names = {
        "topic": config.kafka.topic,
        "algorithm": config.algorithm.name,
        "version": __version__,
        "torch_version": str(torch.__version__),
    }
    status = Status(**names, clock=clock.monotonic, started_at_seconds=clock.now())
    metrics = Metrics(registry, **names, worst_tasks=config.http.metrics_tasks)
    history, tasks = _resumed_history(store, clock), TaskIndex(clock.now)
    state, progress = begun.state, begun.progress
    first = first_of(history.view().events)
    status.begin(progress.events, state.inner_lr.item(), state.meta_lr.item(), progress.prequential, first)
    tasks.begin(begun.progress.events, store.stats(), begun.quarantine)
    observers = (metrics, status, health, history, tasks, lines)
    return Watchers(registry, metrics, status, health, history, tasks, lines, observers)


def _resumed_history(store: Store, clock: Clock) -> History:
    """The curves of the state so far; those that cannot be read begin anew."""
    history, meta = History(clock.now), store.load()
    if meta is not None and meta.history:
        try:
            kept = unpack_history(meta.history)
            history.resume(kept.events, kept.time, kept.marks)
            history.marks.add("restart", clock.now(), "started again")
        except ValueError as error:
            structlog.get_logger().warning("history not resumed: the curves begin anew", reason=str(error))
    return history


def _tell_stopped(last: Snapshot, why: str) -> None:
    saved = last["checkpoint"]
    structlog.get_logger().info(
        "stopped",
        why=why,
        events=last["events"],
        learned=last["outcomes"]["learned"],
        dead_letters=last["outcomes"]["dead_letter"],
        dead_letters_by_reason={reason: count for reason, count in last["dead_letters"].items() if count},
        checkpoint="written" if saved is not None and saved["ok"] else "none",
    )


def _serve(
    config: Config,
    stack: ExitStack,
    watchers: Watchers,
    settings: dict[str, Any],
    store: Store,
    desk: Desk,
    company: Company,
) -> str:
    """Start the HTTP port; its address."""
    shown = Shown(
        registry=watchers.registry,
        status=watchers.status,
        health=watchers.health,
        history=watchers.history,
        tasks=watchers.tasks,
        settings=settings,
        stored=lambda task: row.stats if (row := store.get(task)) is not None else None,
        now=time.time,
        challengers=company.challengers,
        learners=company.curves,
    )
    return open_port(stack, shown, config.http, desk)
