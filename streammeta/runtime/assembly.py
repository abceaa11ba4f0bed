"""The consumer daemon: wires Kafka, the engine, the state and the observers, and runs the loop."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from streammeta.algorithms.base import MetaLearner, State
from streammeta.algorithms.registry import build_learner
from streammeta.clock import Clock
from streammeta.codec import decode, decode_examples
from streammeta.config import Config, config_hash, differences, fit
from streammeta.config.schema import EventsSection
from streammeta.episodes.cutter import Bounds, Cutter, Model, Sizes
from streammeta.episodes.gathering import Gathering
from streammeta.learner.engine import Engine, Progress
from streammeta.learner.tracing import Steps
from streammeta.models.network import Network, load_network
from streammeta.outcomes import Observer
from streammeta.runtime.intake import Intake, Ledger
from streammeta.runtime.loop import CheckpointPolicy, Controls, Loop, OrderLog, Rates
from streammeta.runtime.tape import NoTape, Tape
from streammeta.state.checkpoint import Checkpoint, Origin, check_fit, unpack
from streammeta.state.memories import Memories
from streammeta.state.store import Store
from streammeta.stream.base import DeadLetters, Source


@dataclass(frozen=True, slots=True)
class Brain:
    """What a configuration computes with: built once, without state."""

    network: Network
    learner: MetaLearner
    steps: Steps
    origin: Origin


def build_brain(config: Config, *, predicts: bool = False) -> Brain:
    """Model, algorithm and outer optimiser as the configuration describes them.

    With `predicts`, what is told of an event learned from holds the predictions of its query set.

    Sets the process's number of torch threads: the bits of a sum depend on it.

    Raises:
        ConfigError: the model cannot be built or used.
    """
    torch.set_num_threads(config.model.threads)
    model = config.model
    network = load_network(
        model.factory, model.args, loss=model.loss, seed=model.seed, dtype=model.dtype, device=model.device
    )
    learner = build_learner(config.algorithm, config.outer, network)
    origin = Origin(fit(config), config_hash(config), network.layout, model.dtype)
    return Brain(network, learner, Steps(learner, network, predicts=predicts), origin)


def brain_of(checkpoint: Checkpoint) -> Brain:
    """What the state was learned with: the settings are in it, learning rates and all."""
    sections = {name: dict(table) for name, table in checkpoint.origin.fit.items()}
    sections["algorithm"]["inner_lr"] = checkpoint.state.inner_lr.item()
    return build_brain(Config.model_validate(sections))


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
) -> Loop:
    """A loop that continues from `begun`, which `restore` read from the store."""
    engine = _engine(config, brain, begun, store)
    clock = clock or Clock()
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
        dead_letters=dead_letters,
        ledger=Ledger(dict(begun.positions), dict(begun.refused), topic_id=begun.topic_id, tally=begun.tally),
        observers=observers,
        clock=clock,
        tape=tape or NoTape(),
    )
    return Loop(
        source=source,
        intake=intake,
        store=store,
        order_log=order_log,
        origin=brain.origin,
        policy=CheckpointPolicy(config.state.checkpoint_events, config.state.checkpoint_seconds),
        controls=controls or Controls(),
        reload=reload,
        clock=clock,
        history=history,
    )


def _engine(config: Config, brain: Brain, begun: Checkpoint, store: Store) -> Engine:
    empty = brain.network.initial.new_zeros(brain.learner.memory_size)
    memories = Memories(store.get, empty, config.state.cache_tasks, store.waiting)
    return Engine(
        brain.network,
        brain.steps,
        begun.state,
        begun.progress,
        memories,
        forgetting_sets=config.events.forgetting_sets,
    )


def _cutter(events: EventsSection, network: Network, engine: Engine) -> Cutter:
    sizes = Sizes(events.support, events.query, events.stride)
    bounds = Bounds(events.expire_after_events, events.label_wait_events)
    check = partial(engine.check, counts=(sizes.support, sizes.query))
    return Cutter(sizes, bounds, engine.memories, Model(network.x_numbers, network.y_numbers, check))


def restore(brain: Brain, store: Store) -> Checkpoint:
    """The stored checkpoint with the configuration's learning rates, or the first one.

    Raises:
        StateError: it does not fit the configuration, or is damaged.
    """
    fresh = brain.learner.init(brain.network.initial)
    meta = store.load()
    if meta is None:
        return Checkpoint(brain.origin, fresh, Progress(), positions={}, refused={})
    stored = unpack(meta)
    check_fit(stored.origin, brain.origin, differences(stored.origin.fit, brain.origin.fit))
    state = _to_device(stored.state, brain.network.device)
    return replace(stored, state=state._replace(inner_lr=fresh.inner_lr, meta_lr=fresh.meta_lr))


def _to_device(state: State, device: torch.device) -> State:
    return State(
        params=state.params.to(device),
        outer={name: tensor.to(device) for name, tensor in state.outer.items()},
        slots={name: tensor.to(device) for name, tensor in state.slots.items()},
        inner_lr=state.inner_lr.to(device),
        meta_lr=state.meta_lr.to(device),
    )
