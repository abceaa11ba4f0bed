"""From the names in the configuration to learners: one entry per algorithm and per outer optimiser."""

from collections.abc import Callable, Mapping
from typing import Protocol

from streammeta.algorithms.base import Loss, MetaLearner
from streammeta.algorithms.baselines import independent, online_sgd
from streammeta.algorithms.bspiderboost import bspiderboost
from streammeta.algorithms.federated import local_moml, per_fedavg
from streammeta.algorithms.fo_b_maml import fo_b_maml
from streammeta.algorithms.imaml import imaml
from streammeta.algorithms.maml import anil, maml, reptile
from streammeta.algorithms.memory_reduced import memory_reduced
from streammeta.algorithms.moml import moml
from streammeta.algorithms.moml_v2 import moml_v2
from streammeta.algorithms.multi_step_maml import multi_step_maml
from streammeta.algorithms.nasa import nasa
from streammeta.algorithms.outer import Outer, adam, clip_norm, clipped, normalized, sgd, sngdm
from streammeta.algorithms.schedules import Schedule, constant, cosine, inverse_sqrt, rate_at, scheduled, step
from streammeta.algorithms.split import head_split
from streammeta.config.algorithms import Algorithm, AnilSection
from streammeta.config.bilevel import MemoryReducedSection
from streammeta.config.outer import (
    ClippedSection,
    NormalizedSection,
    OuterOptimiser,
    ScheduleSection,
    SgdSection,
    SngdmSection,
)
from streammeta.models.network import Layout

_OF_DIMENSION: Mapping[str, Callable[..., MetaLearner]] = {
    "moml": moml,
    "moml_v2": moml_v2,
    "nasa": nasa,
    "local_moml": local_moml,
    "independent": independent,
}
"""Learners that need to know d. Their keywords, like those below, are the settings of their tables."""

_OF_HEAD: Mapping[str, Callable[..., MetaLearner]] = {"anil": anil, "memory_reduced": memory_reduced}
"""Learners that tell a head from the body."""

_OTHERS: Mapping[str, Callable[..., MetaLearner]] = {
    "maml": maml,
    "reptile": reptile,
    "bspiderboost": bspiderboost,
    "per_fedavg": per_fedavg,
    "fo_b_maml": fo_b_maml,
    "imaml": imaml,
    "multi_step_maml": multi_step_maml,
    "online_sgd": online_sgd,
}


class Problem(Protocol):
    """What a learner needs to know of a network."""

    @property
    def layout(self) -> Layout:
        """Names and shapes of its parameters."""

    @property
    def dimension(self) -> int:
        """d, their number."""

    @property
    def loss(self) -> Loss:
        """Mean loss of one task."""


def build_learner(algorithm: Algorithm, outer: OuterOptimiser, network: Problem) -> MetaLearner:
    """The learner that `[algorithm]` and `[outer]` describe, for this network."""
    learner = _learner(algorithm, outer, network)
    if outer.schedule is None or algorithm.name == "independent":  # whose tasks each have their own count
        return learner
    schedule = _schedule(outer.schedule)
    return learner._replace(meta_rate=lambda state: rate_at(schedule, state.outer, state.meta_lr))


def _learner(algorithm: Algorithm, outer: OuterOptimiser, network: Problem) -> MetaLearner:
    optimiser = build_outer(outer)
    settings = {**algorithm.model_dump(exclude={"name", "head"}), "meta_lr": outer.lr}
    if isinstance(algorithm, AnilSection | MemoryReducedSection):
        build = _OF_HEAD[algorithm.name]
        return build(network.loss, optimiser, split=head_split(network.layout, algorithm.head), **settings)
    if algorithm.name in _OF_DIMENSION:
        build = _OF_DIMENSION[algorithm.name]
        return build(network.loss, optimiser, dimension=network.dimension, **settings)
    return _OTHERS[algorithm.name](network.loss, optimiser, **settings)


def build_outer(outer: OuterOptimiser) -> Outer:
    """The outer optimiser that `[outer]` describes: its rate scheduled, the gradients clipped before all."""
    optimiser = _optimiser(outer)
    if outer.schedule is not None:
        optimiser = scheduled(optimiser, _schedule(outer.schedule))
    return optimiser if outer.clip_norm is None else clip_norm(optimiser, outer.clip_norm)


def _optimiser(outer: OuterOptimiser) -> Outer:
    if isinstance(outer, SgdSection):
        return sgd(momentum=outer.momentum)
    if isinstance(outer, SngdmSection):
        return sngdm(momentum=outer.momentum)
    if isinstance(outer, NormalizedSection):
        return normalized()
    if isinstance(outer, ClippedSection):
        return clipped(max_step=outer.max_step)
    return adam(beta1=outer.beta1, beta2=outer.beta2, epsilon=outer.epsilon)


def _schedule(schedule: ScheduleSection) -> Schedule:
    match schedule.name:
        case "step":
            return step(schedule.updates, schedule.fractions, schedule.factor)
        case "inverse_sqrt":
            return inverse_sqrt(schedule.updates)
        case "cosine":
            return cosine(schedule.updates, schedule.floor)
    return constant()
