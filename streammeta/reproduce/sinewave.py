"""Sinewave regression as in the MOML paper, section 5.1, over several seeds at once.

25 training tasks y = A sin(x + φ), A ∈ {1..5}, φ ∈ {π/5..π}, x ~ U[−5,5]; network 1-40-40-1; α = 0.01; B
tasks an iteration with batches of K examples; η/10 after 75 % of 40,000 iterations. Test: tasks A ~ U(1,5),
φ ~ U(π/5,π), 10 SGD steps of 0.01 on 10 points, mean squared error on 100 points. The paper draws 5 test
tasks; we draw 500, which leaves the expectation and lowers the noise of the figure.
Source: Wang, Yuan, Ying, Yang, JMLR 24(145) 2023; published numbers from its table, [code].
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import grad, vmap

from streammeta.algorithms.base import MetaLearner
from streammeta.events import Batch, Episode
from streammeta.network import Network, load_network
from streammeta.reproduce.population import Population

SEEDS = 5
TASKS = 25
ITERATIONS = 40_000
TEST_TASKS, TEST_STEPS, TEST_POINTS, TEST_LR = 500, 10, 10, 0.01
DROP_AT, DROP = 0.75, 0.1

Build = Callable[[Network, int], MetaLearner]
"""(network, K) -> the learner with the settings of that K."""


class Published(NamedTuple):
    """Mean and standard deviation over five seeds."""

    mean: float
    sd: float


@dataclass(frozen=True)
class Method:
    """One row of the table.

    Attributes:
        name: As the table shows it.
        build: Its learner.
        published: K -> the paper's figure; empty for methods of ours.
        tasks: B, tasks an iteration.
        sets: K -> examples in the support and in the query set.
    """

    name: str
    build: Build
    published: dict[int, Published]
    tasks: int = 3
    sets: Callable[[int], tuple[int, int]] = lambda k: (k, k)


def network() -> Network:
    """The sinewave network; each seed starts from other parameters."""
    return load_network(
        "streammeta.models:mlp", {"sizes": [1, 40, 40, 1]}, loss="mse", seed=0, dtype="float32", device="cpu"
    )


def starts(seeds: int) -> Tensor:
    """First parameters of each seed, (seeds, d)."""
    return torch.stack(
        [
            load_network(
                "streammeta.models:mlp",
                {"sizes": [1, 40, 40, 1]},
                loss="mse",
                seed=seed,
                dtype="float32",
                device="cpu",
            ).initial
            for seed in range(seeds)
        ]
    )


def training_draws(
    method: Method, k: int, seeds: int, generator: torch.Generator
) -> Callable[[], tuple[Tensor, Episode[Tensor]]]:
    """Tasks with replacement, as in the authors' code; all of them where an iteration takes all."""
    support, query = method.sets(k)

    def draw() -> tuple[Tensor, Episode[Tensor]]:
        if method.tasks == TASKS:
            picked = torch.arange(TASKS).expand(seeds, TASKS)
        else:
            picked = torch.randint(TASKS, (seeds, method.tasks), generator=generator)
        amplitude, phase = (picked % 5 + 1).float(), (picked // 5 + 1) * (math.pi / 5)
        return picked, Episode(
            _wave(amplitude, phase, support, generator), _wave(amplitude, phase, query, generator)
        )

    return draw


def _wave(amplitude: Tensor, phase: Tensor, examples: int, generator: torch.Generator) -> Batch[Tensor]:
    """Examples of waves: x and y of shape (*amplitude.shape, examples, 1)."""
    x = torch.rand(*amplitude.shape, examples, 1, generator=generator) * 10 - 5
    return Batch(x, amplitude[..., None, None] * torch.sin(x + phase[..., None, None]))


def test_error(network: Network, params: Tensor, generator: torch.Generator) -> Tensor:
    """Mean squared error after adaptation, averaged over test tasks, for each seed of params (seeds, d)."""
    amplitude = 1 + 4 * torch.rand(TEST_TASKS, generator=generator)
    phase = math.pi / 5 + (math.pi * 4 / 5) * torch.rand(TEST_TASKS, generator=generator)
    support = _wave(amplitude, phase, TEST_POINTS, generator)
    query = _wave(amplitude, phase, 100, generator)

    def one(params: Tensor, support: Batch[Tensor], query: Batch[Tensor]) -> Tensor:
        for _ in range(TEST_STEPS):
            params = params - TEST_LR * grad(network.loss)(params, *support)
        return network.loss(params, *query)

    over_tasks = vmap(one, in_dims=(None, 0, 0))
    with torch.no_grad():
        return torch.stack([over_tasks(row, support, query).mean() for row in params])


class Outcome(NamedTuple):
    """One method at one K.

    Attributes:
        errors: Test error of each seed at the end.
        curve: (iteration, mean test error over seeds) along the way.
    """

    errors: list[float]
    curve: list[tuple[int, float]]


def run(
    method: Method, k: int, *, seeds: int = SEEDS, iterations: int = ITERATIONS, looks: int = 20
) -> Outcome:
    """Train all seeds, look at the test error `looks` times on the way."""
    torch.set_num_threads(1)
    net = network()
    generator = torch.Generator().manual_seed(1000 * k)
    population = Population.begin(method.build(net, k), starts(seeds), TASKS)
    draw = training_draws(method, k, seeds, generator)
    curve: list[tuple[int, float]] = []
    every = max(1, iterations // looks)
    for iteration, _ in enumerate(population.learn(draw, iterations), 1):
        if iteration == int(DROP_AT * iterations):
            population.scale_meta_lr(DROP)
        if iteration % every == 0:
            errors = test_error(net, population.state.params, torch.Generator().manual_seed(7))
            curve.append((iteration, errors.mean().item()))
    return Outcome(errors.tolist(), curve)
