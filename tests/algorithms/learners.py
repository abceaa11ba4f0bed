"""The table of learners: one line enrols an algorithm in the common suite."""

from collections.abc import Callable

from streammeta.algorithms.base import MetaLearner
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
from streammeta.algorithms.outer import adam, clip_norm, sgd, sngdm
from streammeta.algorithms.schedules import cosine, scheduled
from streammeta.algorithms.split import Split
from tests.algorithms.problems import Problem, sinusoid

ALPHA, ETA = 0.1, 0.05
Build = Callable[[Problem], MetaLearner]


def head_of(problem: Problem) -> Split:
    """The last layer of the sinusoid's network; the first number of the problems without layers."""
    if problem.loss is sinusoid:
        return Split((16, 9), (False, True))
    return Split((1, problem.dimension - 1), (True, False))


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
    "maml-3-steps": lambda p: maml(p.loss, sgd(), inner_lr=ALPHA, meta_lr=ETA, inner_steps=3),
    "maml-no-steps": lambda p: maml(p.loss, sgd(), inner_lr=ALPHA, meta_lr=ETA, inner_steps=0),
    "anil": lambda p: anil(p.loss, sgd(), split=head_of(p), inner_lr=ALPHA, meta_lr=ETA, inner_steps=2),
    "reptile": lambda p: reptile(p.loss, sgd(), inner_lr=ALPHA, meta_lr=0.5, inner_steps=3),
    "moml-v2": lambda p: moml_v2(
        p.loss, sgd(momentum=0.5), dimension=p.dimension, inner_lr=ALPHA, meta_lr=ETA, beta=0.3
    ),
    "moml-v2-tasks": lambda p: moml_v2(
        p.loss, sgd(), dimension=p.dimension, inner_lr=ALPHA, meta_lr=ETA, beta=0.2, tasks=4, order="first"
    ),
    "nasa": lambda p: nasa(
        p.loss, sgd(), dimension=p.dimension, inner_lr=ALPHA, meta_lr=ETA, beta=0.5, gamma=0.2
    ),
    "bspiderboost": lambda p: bspiderboost(p.loss, sgd(), inner_lr=ALPHA, meta_lr=ETA, period=4),
    "local-moml": lambda p: local_moml(
        p.loss,
        sgd(),
        dimension=p.dimension,
        inner_lr=ALPHA,
        meta_lr=ETA,
        beta=0.3,
        local_steps=2,
        initial_examples=2,
    ),
    "local-moml-silo": lambda p: local_moml(
        p.loss,
        sgd(momentum=0.5),
        dimension=p.dimension,
        inner_lr=ALPHA,
        meta_lr=ETA,
        beta=0.3,
        local_steps=2,
        initial_examples=2,
        keep_memory=True,
    ),
    "per-fedavg": lambda p: per_fedavg(p.loss, sgd(), inner_lr=ALPHA, meta_lr=ETA, local_steps=3),
    "online-sgd": lambda p: online_sgd(p.loss, sgd(momentum=0.5), inner_lr=ALPHA, meta_lr=ETA),
    "independent": lambda p: independent(
        p.loss, sgd(momentum=0.5), dimension=p.dimension, inner_lr=ALPHA, meta_lr=ETA
    ),
    "fo-b-maml": lambda p: fo_b_maml(
        p.loss, sgd(), inner_lr=ALPHA, meta_lr=ETA, inner_steps=3, lambda_=1.0, nu=0.01
    ),
    "fo-b-maml-forward": lambda p: fo_b_maml(
        p.loss,
        sngdm(momentum=0.9),
        inner_lr=ALPHA,
        meta_lr=ETA,
        inner_steps=3,
        lambda_=1.0,
        nu=0.01,
        difference="forward",
    ),
    "imaml": lambda p: imaml(
        p.loss,
        scheduled(adam(), cosine(500)),
        inner_lr=ALPHA,
        meta_lr=ETA,
        inner_steps=3,
        lambda_=1.0,
        cg_steps=3,
    ),
    "multi-step-maml": lambda p: multi_step_maml(
        p.loss, sgd(momentum=0.5), inner_lr=ALPHA, meta_lr=ETA, inner_steps=3
    ),
    "multi-step-maml-resampling": lambda p: multi_step_maml(
        p.loss, sgd(), inner_lr=ALPHA / 5, meta_lr=ETA, inner_steps=3, data="resampling"
    ),
    "multi-step-maml-adaptive": lambda p: multi_step_maml(
        p.loss, sgd(), inner_lr=ALPHA / 10, meta_lr=0.5, inner_steps=2, meta_step="adaptive"
    ),
    "memory-reduced": lambda p: memory_reduced(
        p.loss,
        adam(),
        split=head_of(p),
        inner_lr=ALPHA,
        meta_lr=ETA,
        inner_steps=3,
        cg_steps=4,
        ridge=0.5,
    ),
    "memory-reduced-warm": lambda p: memory_reduced(
        p.loss,
        sgd(),
        split=head_of(p),
        inner_lr=ALPHA,
        meta_lr=ETA,
        inner_steps=1,
        cg_steps=2,
        ridge=0.5,
        warm_start=True,
    ),
}

_OTHER_ADAPTATION = ("fo-b-", "imaml", "multi-step", "memory-", "maml-", "anil", "reptile")
SEVERAL_STEPS = {name for name in LEARNERS if name.startswith(_OTHER_ADAPTATION)}
"""Learners whose adaptation is not the one plain step of the others."""

TOGETHER = {"moml-v2", "moml-v2-tasks", "nasa", "bspiderboost", "local-moml", "local-moml-silo", "per-fedavg"}
"""Learners that are meant for several tasks an iteration."""

COUPLED = {"moml-v2", "moml-v2-tasks"}
"""Learners whose memories depend on how many tasks an iteration has (the n/B of MOML v2)."""
