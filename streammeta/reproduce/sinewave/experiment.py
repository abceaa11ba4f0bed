"""Sinewave regression as in the MOML paper, section 5.1: all methods, five seeds at once, published draws.

25 training tasks y = A sin(x + φ), A ∈ {1..5}, φ ∈ {π/5..π}, x ~ U[−5,5]; network 1-40-40-1; α = 0.01; B = 3
tasks an iteration with batches of K examples; 40,000 iterations. Test: ten steps of gradient descent of 0.01
on ten points of a new task, then the mean squared error on 100 points.

The published test is five tasks that are always the same, and a tenth of its points were adapted on; it is
easier than the distribution it stands for. Both are reported: it, and 500 fresh tasks.
"""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.func import grad, vmap

from streammeta.events import Batch, Episode
from streammeta.models.loading import load_network
from streammeta.models.network import Network
from streammeta.reproduce.population import WORTH_COMPILING, Population
from streammeta.reproduce.report import Curve, Measured, Panel, Progress, Report, Row
from streammeta.reproduce.sinewave.data import TASKS, first_visits, fresh_test, published_test, training
from streammeta.reproduce.sinewave.methods import INNER_LR, METHODS, Method

ITERATIONS: Final = 40_000
SEEDS: Final = 5
SHOTS: Final = (1, 3)
FIRST_PARAMETERS: Final = 1234
"""The published runs all begin at the same parameters: torch's initialisation from this seed."""
LOOKS: Final = 20
FRESH_SEED: Final = 7
CURVE_TASKS: Final = 100
TEST_STEPS, TEST_LR = 10, 0.01
DROP_AT, DROP = 0.75, 0.1


class Run(NamedTuple):
    """One method at one K.

    Attributes:
        published: Error of each seed on the published test.
        fresh: Error of each seed on 500 fresh tasks.
        curve: (examples seen, errors of the seeds on 100 fresh tasks) along the way.
    """

    published: list[float]
    fresh: list[float]
    curve: list[tuple[int, list[float]]]


def network() -> Network:
    """The sinewave network at the published first parameters."""
    return load_network(
        "streammeta.models:mlp",
        {"sizes": [1, 40, 40, 1]},
        loss="mse",
        seed=FIRST_PARAMETERS,
        dtype="float32",
        device="cpu",
    )


def sinewave(
    progress: Progress,
    *,
    methods: Sequence[str] = (*METHODS,),
    shots: Sequence[int] = SHOTS,
    seeds: int = SEEDS,
    iterations: int = ITERATIONS,
) -> Report:
    """Run the methods, each at each K; minutes on two cores."""
    net, rows, panels = network(), [], []
    for k in shots:
        curves = []
        for name in methods:
            done = run(METHODS[name], net, k, seeds, iterations, progress)
            published = METHODS[name].published.get(k) if iterations == ITERATIONS else None
            figures = (Measured.over(done.published), Measured.over(done.fresh))
            rows.append(Row(name, f"K = {k}", figures, published))
            curves.append(_curve(name, done))
        panels.append(Panel(f"K = {k}", "examples seen", "error on fresh tasks", curves, y_scale="log"))
    return Report(
        "sinewave",
        f"Sinewave regression, {iterations:,} iterations, {seeds} seeds",
        ("error, published test", "500 fresh tasks"),
        "sd over seeds",
        rows,
        panels,
    )


def run(method: Method, net: Network, k: int, seeds: int, total: int, progress: Progress) -> Run:
    """Train all seeds at once; `total` is the iterations that MOML has."""
    torch.set_num_threads(1)
    plan, rounds = method.plan(k), method.rounds(total, k)
    population = begin(method, net, k, seeds, total)
    at_looks, curve, examples = fresh_test(FRESH_SEED, CURVE_TASKS), list[tuple[int, list[float]]](), 0
    draws = training(plan, seeds, rounds, look_every=max(1, method.logged(total)))
    for done in population.learn(draws, fast=rounds >= WORTH_COMPILING):
        examples += plan.cost(done - 1)
        if method.drops and done == math.floor(DROP_AT * rounds) - 1:
            population.scale_meta_lr(DROP)
        if done % max(1, rounds // LOOKS) == 0:
            progress(f"{method.name}, K = {k}", done, rounds)
            curve.append((examples, test_errors(net, population.state.params, at_looks).tolist()))
    published, fresh = (
        test_errors(net, population.state.params, test).tolist()
        for test in (published_test(), fresh_test(FRESH_SEED))
    )
    return Run(published, fresh, curve)


def begin(method: Method, net: Network, k: int, seeds: int, total: int) -> Population:
    """All seeds at the published first parameters, with the published first memories."""
    starts = net.initial.expand(seeds, -1).contiguous()
    population = Population.begin(method.build(net, k, total), starts, TASKS)
    if method.memory != "none":
        gradients = vmap(vmap(grad(net.loss), (None, 0, 0)), (None, 0, 0))
        with torch.no_grad():
            step = -INNER_LR * gradients(net.initial, *first_visits(k, seeds))
        clock = step.new_zeros(seeds, TASKS, 2)  # MOML v2 keeps the iteration of the last visit
        residual = method.memory == "residual"
        population.memories = torch.cat([step, clock], -1) if residual else net.initial + step
        population.seen = torch.ones_like(population.seen)
    return population


def test_errors(net: Network, params: Tensor, test: Episode[Tensor]) -> Tensor:
    """Mean squared error after adaptation, mean over the test tasks, for each row of params (seeds, d)."""

    def one(params: Tensor, support: Batch[Tensor], query: Batch[Tensor]) -> Tensor:
        for _ in range(TEST_STEPS):
            params = params - TEST_LR * grad(net.loss)(params, *support)
        return net.loss(params, *query)

    over_tasks = vmap(one, in_dims=(None, 0, 0))
    with torch.no_grad():
        return torch.stack([over_tasks(row, *test).mean() for row in params])


def _curve(name: str, done: Run) -> Curve:
    figures = [Measured.over(errors) for _, errors in done.curve]
    spread = [figure.spread or 0.0 for figure in figures]
    return Curve(name, [x for x, _ in done.curve], [figure.mean for figure in figures], spread)
