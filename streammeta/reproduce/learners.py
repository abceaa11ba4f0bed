"""The algorithms by name, for the experiments that compare them on one network."""

from collections.abc import Callable
from typing import Final

from streammeta.algorithms.base import MetaLearner
from streammeta.algorithms.fo_b_maml import fo_b_maml
from streammeta.algorithms.imaml import imaml
from streammeta.algorithms.maml import anil, maml, reptile
from streammeta.algorithms.memory_reduced import memory_reduced
from streammeta.algorithms.moml import moml
from streammeta.algorithms.multi_step_maml import multi_step_maml
from streammeta.algorithms.outer import Outer
from streammeta.algorithms.split import head_split
from streammeta.models.network import Network

LAMBDA, NU, RIDGE = 0.1, 0.01, 0.01

Build = Callable[[Network, Outer, float, float, int], MetaLearner]
"""(network, outer, α, η, K) -> the learner; where it solves a system, with K conjugate-gradient steps too."""


def _maml(net: Network, outer: Outer, inner: float, rate: float, k: int) -> MetaLearner:
    return maml(net.loss, outer, inner_lr=inner, meta_lr=rate, inner_steps=k)


def _fo_maml(net: Network, outer: Outer, inner: float, rate: float, k: int) -> MetaLearner:
    return maml(net.loss, outer, inner_lr=inner, meta_lr=rate, inner_steps=k, order="first")


def _multi_step(net: Network, outer: Outer, inner: float, rate: float, k: int) -> MetaLearner:
    return multi_step_maml(net.loss, outer, inner_lr=inner, meta_lr=rate, inner_steps=k)


def _anil(net: Network, outer: Outer, inner: float, rate: float, k: int) -> MetaLearner:
    split = head_split(net.layout)
    return anil(net.loss, outer, split=split, inner_lr=inner, meta_lr=rate, inner_steps=k)


def _reptile(net: Network, outer: Outer, inner: float, rate: float, k: int) -> MetaLearner:
    return reptile(net.loss, outer, inner_lr=inner, meta_lr=rate, inner_steps=max(2, k))


def _fo_b_maml(net: Network, outer: Outer, inner: float, rate: float, k: int) -> MetaLearner:
    return fo_b_maml(net.loss, outer, inner_lr=inner, meta_lr=rate, inner_steps=k, lambda_=LAMBDA, nu=NU)


def _imaml(net: Network, outer: Outer, inner: float, rate: float, k: int) -> MetaLearner:
    return imaml(net.loss, outer, inner_lr=inner, meta_lr=rate, inner_steps=k, lambda_=LAMBDA, cg_steps=k)


def _memory_reduced(net: Network, outer: Outer, inner: float, rate: float, k: int) -> MetaLearner:
    return memory_reduced(
        net.loss,
        outer,
        split=head_split(net.layout),
        inner_lr=inner,
        meta_lr=rate,
        inner_steps=k,
        cg_steps=k,
        ridge=RIDGE,
    )


def _moml(net: Network, outer: Outer, inner: float, rate: float, _k: int) -> MetaLearner:
    return moml(net.loss, outer, dimension=net.dimension, inner_lr=inner, meta_lr=rate, beta=0.5)


LEARNERS: Final[dict[str, Build]] = {
    "maml": _maml,
    "fo_maml": _fo_maml,
    "multi_step_maml": _multi_step,
    "anil": _anil,
    "reptile": _reptile,
    "moml": _moml,
    "fo_b_maml": _fo_b_maml,
    "imaml": _imaml,
    "memory_reduced": _memory_reduced,
}
"""`moml` takes one inner step whatever K."""
