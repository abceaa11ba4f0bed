"""The methods of the sinewave table: their learners, how they take their data, and the published figures.

"The authors' mode" is what the public code of the paper does: first order, the extra factor β
(`outer_scale`), η/10 after 75 % of the run, and memories that begin at w − α∇l(w; S) for all tasks at once.
Source: Wang, Yuan, Ying, Yang, JMLR 24(145) 2023, arXiv:2106.04911, section 5.1, and its public code.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from streammeta.algorithms.base import MetaLearner
from streammeta.algorithms.bspiderboost import bspiderboost
from streammeta.algorithms.federated import local_moml
from streammeta.algorithms.maml import maml
from streammeta.algorithms.moml import moml
from streammeta.algorithms.moml_v2 import moml_v2
from streammeta.algorithms.nasa import nasa
from streammeta.algorithms.outer import Outer, adam, sgd
from streammeta.algorithms.schedules import cosine, scheduled
from streammeta.models.network import Network
from streammeta.reproduce.report import Measured
from streammeta.reproduce.sinewave.data import TASKS, Plan

INNER_LR: Final = 0.01
TASKS_AT_ONCE: Final = 3
LOCAL_STEPS: Final = 5
SPIDER_PERIOD, SPIDER_RESTART_TASKS = 3, 10

Build = Callable[[Network, int, int], MetaLearner]
"""(network, K, iterations) -> the learner with the settings of that K."""


@dataclass(frozen=True)
class Method:
    """One row of the table.

    Attributes:
        name: As the table shows it.
        build: Its learner.
        plan: K -> how it takes its data.
        published: K -> the paper's figure; empty for settings of ours.
        rounds: (T, K) -> its iterations, where MOML has T: all see the same number of examples.
        logged: T -> how often, in iterations, the published code drew examples to log its training loss.
        drops: η/10 after 75 % of the run.
        memory: What a task's memory begins as, before its first visit: nothing, w − α∇l(w; S), or that as a
            residual of MOML v2.
    """

    name: str
    build: Build
    plan: Callable[[int], Plan] = lambda k: Plan((TASKS_AT_ONCE,), k)
    published: Mapping[int, Measured] = field(default_factory=dict)
    rounds: Callable[[int, int], int] = lambda total, _k: total
    logged: Callable[[int], int] = lambda total: total // 10
    drops: bool = True
    memory: Literal["none", "parameters", "residual"] = "none"


def _maml(net: Network, k: int, _total: int) -> MetaLearner:
    return maml(net.loss, sgd(), inner_lr=INNER_LR, meta_lr={1: 0.001}.get(k, 0.005), order="first")


def _moml(net: Network, k: int, _total: int) -> MetaLearner:
    rate, beta = {1: (0.005, 0.3)}.get(k, (0.01, 0.5))
    return moml(
        net.loss,
        sgd(),
        dimension=net.dimension,
        inner_lr=INNER_LR,
        meta_lr=rate,
        beta=beta,
        order="first",
        outer_scale="beta",
    )


def _moml_v2(net: Network, k: int, _total: int) -> MetaLearner:
    return moml_v2(
        net.loss,
        sgd(),
        dimension=net.dimension,
        inner_lr=INNER_LR,
        meta_lr={1: 0.005}.get(k, 0.01),
        beta=0.1,
        tasks=TASKS,
        order="first",
    )


def _local_moml(net: Network, k: int, _total: int) -> MetaLearner:
    rate, beta = {1: (0.005, 0.3)}.get(k, (0.01, 0.5))
    return local_moml(
        net.loss,
        sgd(),
        dimension=net.dimension,
        inner_lr=INNER_LR,
        meta_lr=rate,
        beta=beta,
        local_steps=LOCAL_STEPS,
        initial_examples=2 * k,
        order="first",
        outer_scale="beta",
    )


def _nasa(net: Network, _k: int, _total: int) -> MetaLearner:
    return nasa(
        net.loss,
        sgd(),
        dimension=net.dimension,
        inner_lr=INNER_LR,
        meta_lr=0.05,
        beta=0.5,
        gamma=0.1,
        order="first",
        outer_scale="beta",
    )


def _bspiderboost(net: Network, k: int, _total: int) -> MetaLearner:
    return bspiderboost(
        net.loss,
        sgd(),
        inner_lr=INNER_LR,
        meta_lr={1: 0.001}.get(k, 0.005),
        period=SPIDER_PERIOD,
        order="first",
    )


def _adam(total: int) -> Outer:
    """Adam whose rate falls to 0 along half a cosine."""
    return scheduled(adam(), cosine(total))


def _moml_adam(net: Network, k: int, total: int) -> MetaLearner:
    rate, beta = {1: (0.004, 0.3)}.get(k, (0.002, 0.5))
    return moml(
        net.loss,
        _adam(total),
        dimension=net.dimension,
        inner_lr=INNER_LR,
        meta_lr=rate,
        beta=beta,
        order="first",
    )


def _maml_adam(net: Network, k: int, total: int) -> MetaLearner:
    rate = {1: 0.002}.get(k, 0.004)
    return maml(net.loss, _adam(total), inner_lr=INNER_LR, meta_lr=rate, order="first")


def _spider_plan(k: int) -> Plan:
    return Plan((SPIDER_RESTART_TASKS, *[TASKS_AT_ONCE] * (SPIDER_PERIOD - 1)), k)


def _spider_rounds(total: int) -> int:
    return int(total * TASKS_AT_ONCE // _spider_plan(1).mean_tasks)


def _local_rounds(total: int, k: int) -> int:
    """K0 examples in front of H batches leave fewer rounds."""
    share = (LOCAL_STEPS * k + 2 * k) / (LOCAL_STEPS * k)
    return int(total // share) // LOCAL_STEPS


METHODS: Final = {
    method.name: method
    for method in (
        Method("maml", _maml, published={1: Measured(0.836, 0.072), 3: Measured(0.308, 0.028)}),
        Method(
            "moml",
            _moml,
            published={1: Measured(0.291, 0.007), 3: Measured(0.173, 0.039)},
            memory="parameters",
        ),
        Method(
            "moml_v2",
            _moml_v2,
            plan=lambda k: Plan((TASKS_AT_ONCE,), k, in_order=True),
            published={1: Measured(0.449, 0.025), 3: Measured(0.268, 0.025)},
            memory="residual",
        ),
        Method(
            "local_moml",
            _local_moml,
            plan=lambda k: Plan((TASKS_AT_ONCE,), k, steps=LOCAL_STEPS, initial=2 * k),
            published={1: Measured(0.432, 0.053), 3: Measured(0.157, 0.008)},
            rounds=_local_rounds,
            logged=lambda total: total // 10 // LOCAL_STEPS,
        ),
        Method(
            "nasa",
            _nasa,
            plan=lambda k: Plan((TASKS,), k),
            published={1: Measured(0.365, 0.020), 3: Measured(0.195, 0.021)},
            rounds=lambda total, _k: total * TASKS_AT_ONCE // TASKS,
            logged=lambda total: total // 10 * TASKS_AT_ONCE // TASKS,
            memory="parameters",
        ),
        Method(
            "bspiderboost",
            _bspiderboost,
            plan=_spider_plan,
            published={1: Measured(1.276, 0.102), 3: Measured(0.501, 0.087)},
            rounds=lambda total, _k: _spider_rounds(total),
            logged=lambda total: _spider_rounds(total // 10),
            drops=False,
        ),
        Method("moml_adam", _moml_adam, drops=False, memory="parameters"),
        Method("maml_adam", _maml_adam, drops=False),
    )
}
"""By name, in the order of the paper; then ours: the same data, Adam, and no factor β. Its rates were chosen
among 0.001, 0.002 and 0.004 by 500 other tasks than those that the table tells of."""
