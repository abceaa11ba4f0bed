"""What a configuration computes with, and the checkpoint that it goes on from."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from streammeta.algorithms.base import MetaLearner, State
from streammeta.algorithms.registry import build_learner
from streammeta.config import Config, config_hash, differences, fit
from streammeta.errors import StateError
from streammeta.learner.growth import limit_of
from streammeta.learner.prepared import Kept
from streammeta.learner.tracing import Steps
from streammeta.models.constants import (
    check_constants,
    constants_of,
    take_constants,
    unpack_constants,
)
from streammeta.models.initial import begin_at, read_parameters
from streammeta.models.loading import load_network
from streammeta.models.network import Layout, Network
from streammeta.models.trial import try_at_start
from streammeta.state.checkpoint import Checkpoint, Origin, check_fit, unpack
from streammeta.state.progress import Progress
from streammeta.state.store import Store


@dataclass(frozen=True, slots=True)
class Blueprint:
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


def build_blueprint(
    config: Config,
    *,
    predicts: bool = False,
    build: Callable[..., nn.Module] | None = None,
    kept: Kept | None = None,
) -> Blueprint:
    """Model, algorithm and outer optimiser as the configuration describes them.

    With `predicts`, what is told of an event learned from holds the predictions of its query set. `build`
    builds the model where `model.factory` only names it. `kept`: traces of this very learner.

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
    steps = Steps(learner, network, predicts=predicts, memory_norm_limit=limit, kept=kept)
    return Blueprint(network, learner, steps, origin, model.init)


def blueprint_on(config: Config, checkpoint: Checkpoint, constants: bytes) -> Blueprint:
    """What this configuration computes with, on a state that fits it.

    Raises:
        ConfigError: the model cannot be built.
        StateError: the state does not fit.
    """
    blueprint = build_blueprint(config)
    check_fit(checkpoint.origin, blueprint.origin, differences(checkpoint.origin.fit, blueprint.origin.fit))
    _settle(blueprint.network, checkpoint.origin, constants)
    return blueprint


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


def restore(blueprint: Blueprint, store: Store) -> Checkpoint:
    """The stored checkpoint with the configuration's learning rates, or the first one.

    Frozen values and buffers of a file that the state began at go into the blueprint's module.

    Raises:
        StateError: it does not fit the configuration or the model, or is damaged.
        ConfigError: a new state cannot begin at `model.init`.
    """
    meta = store.load()
    if meta is None:
        return _first(blueprint)
    stored = unpack(meta)
    check_fit(stored.origin, blueprint.origin, differences(stored.origin.fit, blueprint.origin.fit))
    _settle(blueprint.network, stored.origin, store.constants())
    fresh = blueprint.learner.init(blueprint.network.initial)
    state = _to_device(stored.state, blueprint.network.device)
    return replace(stored, state=state._replace(inner_lr=fresh.inner_lr, meta_lr=fresh.meta_lr))


def _first(blueprint: Blueprint) -> Checkpoint:
    initial, origin = blueprint.network.initial, blueprint.origin
    if blueprint.init:
        path = Path(blueprint.init)
        initial, origin = (
            begin_at(blueprint.network, read_parameters(path), path),
            replace(origin, given=True),
        )
    return Checkpoint(origin, blueprint.learner.init(initial), Progress(), positions={}, refused={})


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
