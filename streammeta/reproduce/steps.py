"""Multi-step MAML: a fixed inner step against one that falls as 1/N (chapter 3).

Tasks are waves y = A sin(x + φ), A ∈ [1, 3], φ ∈ [0, π], learned by a tanh network of 25 parameters in
float64. For each N: with α fixed the weight C_L of the objective's smoothness, hence the meta-gradient, grows
without bound, and descent at one meta step runs away; with α ∝ 1/N it does not.
Source: Ji, Yang, Liang, JMLR 23(1) 2022, arXiv:2002.07836.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Final

import torch
from torch import Tensor
from torch.func import vmap

from streammeta.algorithms.meta_step import Constants, curvature_weight
from streammeta.algorithms.multi_step_maml import multi_step_maml
from streammeta.algorithms.outer import sgd
from streammeta.events import Batch, Episode
from streammeta.reproduce.population import Draw, Population
from streammeta.reproduce.report import Curve, Measured, Panel, Progress, Report, Row

HIDDEN: Final = 8
DIMENSION: Final = 3 * HIDDEN + 1
SEEDS: Final = 5
ITERATIONS: Final = 400
INNER_STEPS: Final = (1, 2, 3, 5, 7, 10)
INNER_LR: Final = 0.2
META_LR: Final = 0.03
EXAMPLES: Final = 10
TEST_TASKS: Final = 100
RULES: Final = ("fixed", "1/N")


def steps(
    progress: Progress,
    *,
    inner_steps: Sequence[int] = INNER_STEPS,
    seeds: int = SEEDS,
    iterations: int = ITERATIONS,
) -> Report:
    """Learn at each N with both rules, all seeds at once."""
    torch.set_num_threads(1)
    rows, losses, weights = [], [], []
    for rule in RULES:
        means = []
        for n in inner_steps:
            alpha = inner_lr(rule, n)
            progress(f"α {rule}, N = {n}", 0, 1)
            found = learned(alpha, n, seeds, iterations)
            progress(f"α {rule}, N = {n}", 1, 1)
            whole = [value for value in found if math.isfinite(value)]
            diverged = Measured(len(found) - len(whole))
            measured = Measured.over(whole) if whole else Measured(math.inf)
            rows.append(Row(f"α {rule}", f"N = {n}", (measured, diverged, Measured(weight(alpha, n)))))
            means.append(measured.mean)
        lost = [n for n, mean in zip(inner_steps, means, strict=True) if mean == math.inf]
        label = f"α {rule}, runs away from N = {lost[0]} on" if lost else f"α {rule}"
        losses.append(Curve(label, list(inner_steps), means))
        weights.append(
            Curve(f"α {rule}", list(inner_steps), [weight(inner_lr(rule, n), n) for n in inner_steps])
        )
    return Report(
        "steps",
        f"Multi-step MAML, α = {INNER_LR} or {INNER_LR}/N, {iterations} iterations, {seeds} seeds",
        ("adapted loss", "seeds that ran away", "C_L/ρ at L = 1"),
        "sd over the seeds that stayed finite",
        rows,
        [
            Panel("after learning", "inner steps N", "loss after adaptation", losses),
            Panel(
                "weight of the gradient norm in the smoothness",
                "inner steps N",
                "C_L/ρ at L = 1",
                weights,
                y_scale="log",
            ),
        ],
        ("no published figure: the paper states that α ∝ 1/N is needed, and shows it on images",),
    )


def inner_lr(rule: str, inner_steps: int) -> float:
    """α of a rule."""
    return INNER_LR if rule == "fixed" else INNER_LR / inner_steps


def weight(alpha: float, inner_steps: int) -> float:
    """C_L at L = ρ = 1."""
    one = torch.ones((), dtype=torch.float64)
    return curvature_weight(Constants(one, one), alpha * one, inner_steps).item()


def loss(params: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Mean squared error of the tanh network 1-8-1."""
    slopes, shifts, outer, bias = torch.split(params, [HIDDEN, HIDDEN, HIDDEN, 1])
    return ((torch.tanh(x * slopes + shifts) @ outer + bias - y.squeeze(-1)) ** 2).mean()


def learned(alpha: float, inner_steps: int, seeds: int, iterations: int) -> list[float]:
    """Loss of unseen tasks after N inner steps, at the end of each seed's run; infinite where it ran away."""
    random = torch.Generator().manual_seed(inner_steps)
    learner = multi_step_maml(loss, sgd(), inner_lr=alpha, meta_lr=META_LR, inner_steps=inner_steps)
    starts = 0.5 * torch.randn(seeds, DIMENSION, generator=random, dtype=torch.float64)
    population = Population.begin(learner, starts, 1)
    for _ in population.learn(_draws(random, seeds, iterations)):
        pass
    test = _waves(torch.Generator().manual_seed(7), (TEST_TASKS,))

    def one(row: Tensor) -> Tensor:
        state = learner.init(row)
        return vmap(lambda support, query: loss(learner.adapt(state, support), *query))(*test).mean()

    errors = [one(row).item() for row in population.state.params]
    return [error if error < 1e6 else math.inf for error in errors]


def _draws(random: torch.Generator, seeds: int, iterations: int) -> Iterator[Draw]:
    """One fresh task an iteration."""
    for _ in range(iterations):
        yield torch.zeros(seeds, 1, dtype=torch.int64), _waves(random, (seeds, 1))


def _waves(random: torch.Generator, shape: tuple[int, ...]) -> Episode[Tensor]:
    """Support and query sets of as many fresh tasks."""
    uniform = torch.rand(2, *shape, 1, 1, generator=random, dtype=torch.float64)
    amplitude, phase = 1 + 2 * uniform[0], math.pi * uniform[1]
    x = 10 * torch.rand(2, *shape, EXAMPLES, 1, generator=random, dtype=torch.float64) - 5
    return Episode(*(Batch(points, amplitude * torch.sin(points + phase)) for points in x))
