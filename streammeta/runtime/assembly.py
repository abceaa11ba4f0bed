"""The consumer daemon: wires Kafka, the engine, the state and the observers, and runs the loop."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from streammeta.algorithms.base import MetaLearner, State
from streammeta.algorithms.registry import build_learner
from streammeta.clock import Clock
from streammeta.codec import decode, decode_examples
from streammeta.config import Config, config_hash, differences, fit
from streammeta.config.schema import EventsSection
from streammeta.episodes.cutter import Bounds, Cutter, Model, Sizes
from streammeta.episodes.gathering import Gathering
from streammeta.errors import StateError
from streammeta.learner.engine import Engine
from streammeta.learner.executors.compiled import CompiledSteps
from streammeta.learner.executors.serving import Executors
from streammeta.learner.growth import limit_of
from streammeta.learner.tracing import Steps
from streammeta.models.constants import (
    check_constants,
    constants_of,
    pack_constants,
    take_constants,
    unpack_constants,
)
from streammeta.models.initial import begin_at, read_parameters
from streammeta.models.loading import load_network
from streammeta.models.network import Layout, Network
from streammeta.models.trial import try_at_start
from streammeta.outcomes import Observer
from streammeta.runtime.commit import Aside, in_thread
from streammeta.runtime.controls import CheckpointPolicy, Controls, Rates
from streammeta.runtime.first_refusals import FirstRefusals
from streammeta.runtime.intake import Intake
from streammeta.runtime.ledger import Ledger
from streammeta.runtime.loop import Loop
from streammeta.runtime.orders import OrderLog
from streammeta.runtime.tape import NoTape, Tape
from streammeta.runtime.trials import NoTrials, Trials
from streammeta.state.checkpoint import Checkpoint, Origin, check_fit, unpack
from streammeta.state.event_ids import EventIds
from streammeta.state.memories import Memories
from streammeta.state.progress import Progress
from streammeta.state.quarantine import Quarantine
from streammeta.state.store import Store
from streammeta.stream.base import DeadLetters, Source


@dataclass(frozen=True, slots=True)
class Brain:
    """What a configuration computes with: built once, without state.

    Attributes:
        init: The file that a new state begins at; "" for the factory's parameters.
    """

    network: Network
    learner: MetaLearner
    steps: Steps
    origin: Origin
    init: str = ""


@dataclass(frozen=True, slots=True)
class _Unasked:
    """As much of a network as a learner needs that is asked for no step: names and shapes alone."""

    layout: Layout

    @property
    def dimension(self) -> int:
        """d, the number of parameters."""
        return sum(parameter.size for parameter in self.layout)

    def loss(self, _params: Tensor, _x: Tensor, _y: Tensor) -> Tensor:
        """There is none."""
        raise NotImplementedError("this learner has no model")


def build_brain(
    config: Config, *, predicts: bool = False, build: Callable[..., nn.Module] | None = None
) -> Brain:
    """Model, algorithm and outer optimiser as the configuration describes them.

    With `predicts`, what is told of an event learned from holds the predictions of its query set. `build`
    builds the model where `model.factory` only names it.

    Sets the process's number of torch threads: the bits of a sum depend on it.

    Raises:
        ConfigError: the model cannot be built or used.
    """
    torch.set_num_threads(config.model.threads)
    model = config.model
    network = load_network(
        model.factory,
        model.args,
        loss=model.loss,
        seed=model.seed,
        dtype=model.dtype,
        device=model.device,
        build=build,
    )
    constants_of(network.module)  # refused here what no state can hold
    try_at_start(network)
    learner = build_learner(config.algorithm, config.outer, network)
    origin = Origin(fit(config), config_hash(config), network.layout, model.dtype)
    limit = limit_of(config.events.memory_norm_limit, learner)
    steps = Steps(learner, network, predicts=predicts, memory_norm_limit=limit)
    return Brain(network, learner, steps, origin, model.init)


def brain_on(config: Config, checkpoint: Checkpoint, constants: bytes) -> Brain:
    """What this configuration computes with, on a state that fits it.

    Raises:
        ConfigError: the model cannot be built.
        StateError: the state does not fit.
    """
    brain = build_brain(config)
    check_fit(checkpoint.origin, brain.origin, differences(checkpoint.origin.fit, brain.origin.fit))
    _settle(brain.network, checkpoint.origin, constants)
    return brain


def learner_of(checkpoint: Checkpoint) -> MetaLearner:
    """The learner of the state, for what its numbers mean; it can learn and adapt nothing.

    No code that the state names is run: neither model nor loss is needed.

    Raises:
        StateError: the settings are damaged.
    """
    config = config_of(checkpoint)
    return build_learner(config.algorithm, config.outer, _Unasked(checkpoint.origin.layout))


def config_of(checkpoint: Checkpoint) -> Config:
    """The settings that the state was learned with, learning rates and all; defaults where it is free.

    Raises:
        StateError: they are damaged.
    """
    try:
        sections = {name: dict(table) for name, table in checkpoint.origin.fit.items()}
        sections["algorithm"]["inner_lr"] = checkpoint.state.inner_lr.item()
        sections.setdefault("outer", {})["lr"] = checkpoint.state.meta_lr.item()
        return Config.model_validate(sections)
    except (ValidationError, ValueError, KeyError, TypeError):  # not chained: the text may hold secrets
        raise StateError(
            "the settings in the state are damaged, or of another version of streammeta; use the version "
            "that wrote it, or restore it from a copy"
        ) from None


def assemble(
    config: Config,
    brain: Brain,
    begun: Checkpoint,
    *,
    source: Source,
    dead_letters: DeadLetters,
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
) -> Loop:
    """A loop that continues from `begun`, which `restore` read from the store.

    `compiled`: where compiled steps come from; None where all are traced.
    """
    engine = _engine(config, brain, begun, store, compiled)
    constants = constants_of(brain.network.module)
    clock = clock or Clock()
    ledger = Ledger(
        dict(begun.positions),
        dict(begun.refused),
        topic_id=begun.topic_id,
        tally=begun.tally,
        learned=begun.progress.events,
    )
    intake = Intake(
        topic=config.kafka.topic,
        decode=partial(
            decode if config.events.kind == "episode" else decode_examples,
            max_bytes=config.kafka.max_event_bytes,
            max_examples=config.events.max_examples,
        ),
        cutter=_cutter(config.events, brain.network, engine),
        gathering=Gathering(
            config.events.batch,
            config.events.batch_linger_seconds,
            lambda event: brain.network.shapes(event.episode),
        ),
        engine=engine,
        dead_letters=FirstRefusals(dead_letters, engine, ledger),
        ledger=ledger,
        observers=observers,
        clock=clock,
        tape=tape or NoTape(),
        trials=trials or NoTrials(),
        log_passed=order_log.append,
        ids=EventIds(config.events.dedupe_window_events, store.ids(), begun.ids),
    )
    return Loop(
        source=source,
        intake=intake,
        store=store,
        order_log=order_log,
        origin=replace(brain.origin, constants=constants.hash, given=begun.origin.given),
        policy=CheckpointPolicy(config.state.checkpoint_events, config.state.checkpoint_seconds),
        controls=controls or Controls(),
        reload=reload,
        clock=clock,
        history=history,
        aside=aside,
        constants=None if store.constants() else pack_constants(constants),
    )


def _engine(
    config: Config, brain: Brain, begun: Checkpoint, store: Store, compiled: CompiledSteps | None
) -> Engine:
    empty = brain.network.initial.new_zeros(brain.learner.memory_size)
    memories = Memories(store.get_many, empty, config.state.cache_tasks, store.waiting)
    return Engine(
        brain.network,
        brain.steps,
        begun.state,
        begun.progress,
        memories,
        forgetting_sets=config.events.forgetting_sets,
        executors=Executors(
            brain.steps, compiled, begun.executors, required=config.engine.compile == "require"
        ),
        quarantine=Quarantine(config.events.memory_norm_limit or math.inf, begun.quarantine),
    )


def _cutter(events: EventsSection, network: Network, engine: Engine) -> Cutter:
    sizes = Sizes(events.support, events.query, events.stride)
    bounds = Bounds(events.expire_after_events, events.label_wait_events)
    check = partial(engine.check, counts=(sizes.support, sizes.query))
    return Cutter(sizes, bounds, engine.memories, Model(network.x_numbers, network.y_numbers, check))


def restore(brain: Brain, store: Store) -> Checkpoint:
    """The stored checkpoint with the configuration's learning rates, or the first one.

    Frozen values and buffers of a file that the state began at go into the brain's module.

    Raises:
        StateError: it does not fit the configuration or the model, or is damaged.
        ConfigError: a new state cannot begin at `model.init`.
    """
    meta = store.load()
    if meta is None:
        return _first(brain)
    stored = unpack(meta)
    check_fit(stored.origin, brain.origin, differences(stored.origin.fit, brain.origin.fit))
    _settle(brain.network, stored.origin, store.constants())
    fresh = brain.learner.init(brain.network.initial)
    state = _to_device(stored.state, brain.network.device)
    return replace(stored, state=state._replace(inner_lr=fresh.inner_lr, meta_lr=fresh.meta_lr))


def _first(brain: Brain) -> Checkpoint:
    initial, origin = brain.network.initial, brain.origin
    if brain.init:
        path = Path(brain.init)
        initial, origin = begin_at(brain.network, read_parameters(path), path), replace(origin, given=True)
    return Checkpoint(origin, brain.learner.init(initial), Progress(), positions={}, refused={})


def _settle(network: Network, origin: Origin, constants: bytes) -> None:
    """See that the module has the state's constants; a state of an earlier version does not know them."""
    if not constants:
        return
    stored, now = unpack_constants(constants, origin.constants), constants_of(network.module)
    if origin.given and stored.forms == now.forms:
        take_constants(network.module, stored.values)
        now = constants_of(network.module)
    check_constants(stored, now)


def _to_device(state: State, device: torch.device) -> State:
    return State(
        params=state.params.to(device),
        outer={name: tensor.to(device) for name, tensor in state.outer.items()},
        slots={name: tensor.to(device) for name, tensor in state.slots.items()},
        inner_lr=state.inner_lr.to(device),
        meta_lr=state.meta_lr.to(device),
    )
