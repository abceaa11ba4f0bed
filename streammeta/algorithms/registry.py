"""From the names in the configuration to learners: one entry per algorithm and per outer optimiser."""

from streammeta.algorithms.base import MetaLearner
from streammeta.algorithms.moml import maml, moml
from streammeta.algorithms.outer import Outer, clip_norm, sgd
from streammeta.config.schema import Algorithm, MomlSection, OuterOptimiser
from streammeta.network import Network


def build_learner(algorithm: Algorithm, outer: OuterOptimiser, network: Network) -> MetaLearner:
    """The learner that `[algorithm]` and `[outer]` describe, for this network."""
    optimiser = build_outer(outer)
    if isinstance(algorithm, MomlSection):
        return moml(
            network.loss,
            optimiser,
            dimension=network.dimension,
            inner_lr=algorithm.inner_lr,
            meta_lr=outer.lr,
            beta=algorithm.beta,
            order=algorithm.order,
            hessian_set=algorithm.hessian_set,
            outer_scale=algorithm.outer_scale,
        )
    return maml(
        network.loss,
        optimiser,
        inner_lr=algorithm.inner_lr,
        meta_lr=outer.lr,
        order=algorithm.order,
        hessian_set=algorithm.hessian_set,
    )


def build_outer(outer: OuterOptimiser) -> Outer:
    """The outer optimiser that `[outer]` describes."""
    optimiser = sgd(momentum=outer.momentum)
    return optimiser if outer.clip_norm is None else clip_norm(optimiser, outer.clip_norm)
