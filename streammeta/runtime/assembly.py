"""The consumer daemon: wires Kafka, the engine, the state and the observers, and runs the loop."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from streammeta.clock import Clock
from streammeta.config import Config
from streammeta.config.drift import DriftSection
from streammeta.config.events import EventsSection
from streammeta.episodes.cutter import Bounds, Cutter, Model, Sizes
from streammeta.episodes.gathering import Gathering
from streammeta.evaluation.drift import Settings
from streammeta.learner.engine import Engine
from streammeta.learner.executors.compiled import CompiledSteps
from streammeta.learner.executors.serving import Executors
from streammeta.models.constants import (
    constants_of,
    pack_constants,
)
from streammeta.models.network import Network
from streammeta.outcomes import Observer
from streammeta.runtime.answering import Answering
from streammeta.runtime.blueprint import Blueprint
from streammeta.runtime.commit import Aside, in_thread
from streammeta.runtime.controls import CheckpointPolicy, Controls, Rates
from streammeta.runtime.first_refusals import FirstRefusals
from streammeta.runtime.intake import Intake
from streammeta.runtime.ledger import Ledger
from streammeta.runtime.loop import Loop
from streammeta.runtime.orders import OrderLog
from streammeta.runtime.predicting import predictor_for
from streammeta.runtime.reading import decoder_of
from streammeta.runtime.rounds import ALONE
from streammeta.runtime.tape import NoTape, Tape
from streammeta.runtime.telling import Telling
from streammeta.runtime.trials import NoTrials, Trials
from streammeta.runtime.uniting import Member, uniting
from streammeta.state.checkpoint import Checkpoint
from streammeta.state.event_ids import EventIds
from streammeta.state.memories import Memories
from streammeta.state.quarantine import Quarantine
from streammeta.state.store import Store
from streammeta.stream.base import Answers, DeadLetters, Source


def assemble(
    config: Config,
    blueprint: Blueprint,
    begun: Checkpoint,
    *,
    source: Source,
    dead_letters: DeadLetters,
    answers: Answers | None = None,
    store: Store,
    order_log: OrderLog,
    observers: Sequence[Observer] = (),
    controls: Controls | None = None,
    reload: Callable[[], Rates | None] = lambda: None,
    clock: Clock | None = None,
    history: Callable[[], bytes] = bytes,
    tape: Tape | None = None,
    trials: Trials | None = None,
    aside: Aside = in_thread,
    compiled: CompiledSteps | None = None,
    member: Member | None = None,
) -> Loop:
    """A loop that continues from `begun`, which `restore` read from the store.

    `answers`: where answers to records without labels go; None where nobody is told them.
    `compiled`: where compiled steps come from; None where all are traced. `member`: of the group of
    ranks that it learns with; None where it learns alone.

    Raises:
        ConfigError: several ranks cannot learn by this algorithm.
    """
    engine = _engine(config, blueprint, begun, store, compiled)
    constants = constants_of(blueprint.network.module)
    clock, controls = clock or Clock(), controls or Controls()
    ledger = Ledger(
        dict(begun.positions),
        dict(begun.refused),
        topic_id=begun.topic_id,
        tally=begun.tally,
        learned=begun.progress.events,
        standing=begun.standing,
    )
    telling = Telling(config.kafka.topic, observers, FirstRefusals(dead_letters, engine, ledger), ledger)
    answering = None
    if answers is not None:
        predictor = predictor_for(config, blueprint.network)
        answering = Answering(engine, predictor, answers, telling, order_log.sync)
    intake = Intake(
        decode=decoder_of(config),
        cutter=_cutter(config.events, blueprint.network, engine),
        gathering=Gathering(
            config.events.batch,
            config.events.batch_linger_seconds,
            lambda event: blueprint.network.shapes(event.episode),
        ),
        engine=engine,
        telling=telling,
        ledger=ledger,
        clock=clock,
        tape=tape or NoTape(),
        answering=answering,
        trials=trials or NoTrials(),
        log_passed=order_log.append,
        ids=EventIds(config.events.dedupe_window_events, store.ids(), begun.ids),
    )
    return Loop(
        source=source,
        intake=intake,
        store=store,
        order_log=order_log,
        origin=replace(blueprint.origin, constants=constants.hash, given=begun.origin.given),
        policy=CheckpointPolicy(config.state.checkpoint_events, config.state.checkpoint_seconds),
        controls=controls,
        reload=reload,
        clock=clock,
        history=history,
        aside=aside,
        constants=None if store.constants() else pack_constants(constants),
        rounds_of=uniting(config, blueprint, member, source, store, controls) if member else ALONE,
    )


def _engine(
    config: Config, blueprint: Blueprint, begun: Checkpoint, store: Store, compiled: CompiledSteps | None
) -> Engine:
    empty = blueprint.network.initial.new_zeros(blueprint.learner.memory_size)
    memories = Memories(store.get_many, empty, config.state.cache_tasks, store.waiting)
    return Engine(
        blueprint.network,
        blueprint.steps,
        begun.state,
        begun.progress,
        memories,
        forgetting_sets=config.events.forgetting_sets,
        executors=Executors(
            blueprint.steps, compiled, begun.executors, required=config.engine.compile == "require"
        ),
        quarantine=Quarantine(config.events.memory_norm_limit or math.inf, begun.quarantine),
        drift=_drift(config.drift, getattr(config.algorithm, "beta", 1.0)),
    )


def _drift(section: DriftSection, beta: float) -> Settings | None:
    """`beta`: of the algorithm; 1 where it has none."""
    if section.detector == "off":
        return None
    values = section.model_dump(exclude={"action"})
    return Settings(restart=section.action == "restart_memory", kept=1.0 - beta, **values)


def _cutter(events: EventsSection, network: Network, engine: Engine) -> Cutter:
    sizes = Sizes(events.support, events.query, events.stride)
    bounds = Bounds(events.expire_after_events, events.label_wait_events)
    check = partial(engine.check, counts=(sizes.support, sizes.query))
    return Cutter(sizes, bounds, engine.memories, Model(network.x_numbers, network.y_numbers, check))
