"""The table of learners: one line enrols an algorithm in the common suite."""

from collections.abc import Callable

from streammeta.algorithms.base import MetaLearner
from streammeta.algorithms.moml import maml, moml
from streammeta.algorithms.outer import clip_norm, sgd
from tests.algorithms.problems import Problem

ALPHA, ETA = 0.1, 0.05
Build = Callable[[Problem], MetaLearner]

LEARNERS: dict[str, Build] = {
    "moml": lambda p: moml(
        p.loss, sgd(momentum=0.5), dimension=p.dimension, inner_lr=ALPHA, meta_lr=ETA, beta=0.3
    ),
    "moml-first-order": lambda p: moml(
        p.loss, sgd(), dimension=p.dimension, inner_lr=ALPHA, meta_lr=ETA, beta=0.3, order="first"
    ),
    "moml-half": lambda p: moml(
        p.loss, sgd(), dimension=p.dimension, inner_lr=ALPHA, meta_lr=ETA, beta=0.3, hessian_set="half"
    ),
    "moml-clipped": lambda p: moml(
        p.loss, clip_norm(sgd(), 1.0), dimension=p.dimension, inner_lr=ALPHA, meta_lr=ETA, beta=0.3
    ),
    "maml": lambda p: maml(p.loss, sgd(momentum=0.5), inner_lr=ALPHA, meta_lr=ETA),
    "fo-maml": lambda p: maml(p.loss, sgd(), inner_lr=ALPHA, meta_lr=ETA, order="first"),
}
