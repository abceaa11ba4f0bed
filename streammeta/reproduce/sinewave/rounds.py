"""LocalMOML against Per-FedAvg on the sine waves: across devices, and across silos that keep memories.

The rounds of `streammeta federated simulate`, computed in this process for all seeds at once: first order,
without the authors' factor β, H = 5 local steps of K examples; across devices 3 of 25 clients a round, across
silos all. All make as many rounds, and so send as many bytes; where a memory begins LocalMOML takes K0 = 2K
more examples. Every rate is in the table: no method is compared at one that suits the other.
"""

from collections.abc import Sequence
from typing import Final, Literal

from streammeta.algorithms.base import MetaLearner
from streammeta.algorithms.federated import local_moml, per_fedavg
from streammeta.algorithms.outer import sgd
from streammeta.models.network import Network
from streammeta.reproduce.report import Curve, Measured, Panel, Progress, Report, Row
from streammeta.reproduce.sinewave.data import TASKS, Plan
from streammeta.reproduce.sinewave.experiment import network, run
from streammeta.reproduce.sinewave.methods import INNER_LR, LOCAL_STEPS, TASKS_AT_ONCE, Method

Where = Literal["devices", "silos"]
WHERE: Final[tuple[Where, ...]] = ("devices", "silos")
METHODS: Final = ("local_moml", "per_fedavg")
ROUNDS: Final = 400
SEEDS: Final = 3
SHOTS: Final = (1, 3)
RATES: Final = (0.005, 0.015)
_BETA: Final = {1: 0.3}
"""β of LocalMOML at K as in the paper; 0.5 at others."""
_NEVER: Final = 10**9


def federated(
    progress: Progress,
    *,
    methods: Sequence[str] = METHODS,
    shots: Sequence[int] = SHOTS,
    rates: Sequence[float] = RATES,
    seeds: int = SEEDS,
    rounds: int = ROUNDS,
) -> Report:
    """Each method at each rate η and K, across devices and across silos; minutes on two cores.

    Args:
        progress: Told now and then.
        methods: Names of `METHODS`.
        shots: K.
        rates: η.
        seeds: Runs of each.
        rounds: Of each.
    """
    net, rows, panels = network(), [], []
    for k in shots:
        for where in WHERE:
            curves = []
            for rate in rates:
                for name in methods:
                    method = _method(name, where, rate, k)
                    done = run(method, net, k, seeds, rounds, progress)
                    rows.append(
                        Row(f"{name}, η = {rate:g}", f"K = {k}, {where}", (Measured.over(done.fresh),))
                    )
                    means = [Measured.over(errors).mean for _, errors in done.curve]
                    ends = [examples // method.plan(k).cost(0) for examples, _ in done.curve]
                    curves.append(Curve(f"{name}, η = {rate:g}", ends, means))
            panels.append(Panel(f"K = {k}, {where}", "rounds", "personalised loss", curves, y_scale="log"))
    return Report(
        "federated",
        f"Sine waves over clients, {rounds:,} rounds, {seeds} seeds",
        ("personalised loss, 500 unseen clients",),
        "sd over seeds",
        rows,
        panels,
        ("personalised: ten steps of 0.01 on ten points, judged on a hundred others",),
    )


def _method(name: str, where: Where, rate: float, shots: int) -> Method:
    """One setting, for the machinery of the sinewave table."""
    clients = TASKS if where == "silos" else TASKS_AT_ONCE
    initial = 2 * shots if name == "local_moml" else 0
    plan = Plan((clients,), shots, steps=LOCAL_STEPS, initial=initial)

    def build(net: Network, k: int, _total: int) -> MetaLearner:
        if name == "per_fedavg":
            return per_fedavg(
                net.loss, sgd(), inner_lr=INNER_LR, meta_lr=rate, local_steps=LOCAL_STEPS, order="first"
            )
        return local_moml(
            net.loss,
            sgd(),
            dimension=net.dimension,
            inner_lr=INNER_LR,
            meta_lr=rate,
            beta=_BETA.get(k, 0.5),
            local_steps=LOCAL_STEPS,
            initial_examples=initial,
            keep_memory=where == "silos",
            order="first",
        )

    return Method(
        f"{name} across {where}, η = {rate:g}",
        build,
        plan=lambda _k: plan,
        logged=lambda _total: _NEVER,
        drops=False,
    )
