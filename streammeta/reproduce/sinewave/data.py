"""The data of the published sinewave runs, example by example: tasks, training draws, test sets.

The public code of the paper draws from NumPy's legacy generator, whose streams are frozen, with seeds 0 to 4.
Drawing the same numbers in the same order makes our runs comparable with the published ones seed by seed.
"""

import math
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from streammeta.events import Array, Batch, Episode
from streammeta.reproduce.population import Draw

TASKS: Final = 25
LOOK_EXAMPLES: Final = TASKS * 200
"""What the published code draws to log its training loss, and we draw to stay in step with it."""
TEST_POINTS: Final = 100
ADAPTATION_POINTS: Final = 10


class Plan(NamedTuple):
    """How an algorithm takes its data.

    Attributes:
        tasks: B of each iteration, in turn; all 25 are taken in order, fewer are drawn without replacement.
        examples: K of an inner or outer batch.
        steps: H, batches of K + K a task in an iteration.
        initial: K0, examples in front of them.
        in_order: The drawn tasks are visited in the order of their numbers.
    """

    tasks: tuple[int, ...]
    examples: int
    steps: int = 1
    initial: int = 0
    in_order: bool = False

    @property
    def mean_tasks(self) -> float:
        """B on average."""
        return sum(self.tasks) / len(self.tasks)

    def cost(self, iteration: int) -> int:
        """Examples that an iteration (from 0) takes."""
        return self.tasks[iteration % len(self.tasks)] * (self.initial + 2 * self.steps * self.examples)


def training(plan: Plan, seeds: int, iterations: int, look_every: int) -> Iterator[Draw]:
    """The draws of the published runs 0 … seeds − 1, stacked."""
    streams = [_stream(plan, seed, iterations, look_every) for seed in range(seeds)]
    for draws in zip(*streams, strict=True):
        picked = np.stack([chosen for chosen, _ in draws])
        x = np.stack([uniform for _, uniform in draws])
        yield torch.from_numpy(picked), _episode(plan, picked, x)


def first_visits(examples: int, seeds: int) -> Batch[Tensor]:
    """The K examples of each of the 25 tasks, (seeds, 25, K, 1), from which the published memories begin."""
    x = np.stack([np.random.RandomState(seed).uniform(-5, 5, (TASKS, examples)) for seed in range(seeds)])
    return _waves(*_amplitude_and_phase(np.arange(TASKS)), x)


def published_test() -> Episode[Tensor]:
    """The five published test tasks, a leading axis of 5.

    All have the same 100 points, and the ten to adapt on are the first of them: a tenth of the test set was
    trained on.
    """
    x = np.random.RandomState(2021).uniform(-5, 5, TEST_POINTS)
    drawn = [np.random.RandomState(task) for task in range(5)]
    waves = np.array([(r.uniform(1, 5), r.uniform(math.pi / 5, math.pi)) for r in drawn])
    query = _waves(waves[:, 0], waves[:, 1], np.tile(x, (5, 1)))
    return Episode(Batch(*(tensor[:, :ADAPTATION_POINTS] for tensor in query)), query)


def fresh_test(seed: int, tasks: int = 500) -> Episode[Tensor]:
    """As many tasks of the same distribution, points of their own, none of them in both sets."""
    random = np.random.default_rng(seed)
    amplitude, phase = random.uniform(1, 5, tasks), random.uniform(math.pi / 5, math.pi, tasks)
    x = random.uniform(-5, 5, (tasks, ADAPTATION_POINTS + TEST_POINTS))
    both = _waves(amplitude, phase, x)
    return Episode(
        Batch(*(tensor[:, :ADAPTATION_POINTS] for tensor in both)),
        Batch(*(tensor[:, ADAPTATION_POINTS:] for tensor in both)),
    )


def _stream(plan: Plan, seed: int, iterations: int, look_every: int) -> Iterator[tuple[Array, Array]]:
    """Task numbers (B,) and x (B, examples) of each iteration of one run."""
    random = np.random.RandomState(seed)
    for done in range(iterations):
        if done and done % look_every == 0:
            random.uniform(size=LOOK_EXAMPLES)
        tasks = plan.tasks[done % len(plan.tasks)]
        picked = np.arange(TASKS) if tasks == TASKS else random.choice(TASKS, tasks, replace=False)
        yield (
            np.sort(picked) if plan.in_order else picked,
            random.uniform(-5, 5, (tasks, plan.initial + 2 * plan.steps * plan.examples)),
        )


def _episode(plan: Plan, picked: Array, x: Array) -> Episode[Tensor]:
    """Support: the initial examples, then the first K of each step; query: the others."""
    amplitude, phase = _amplitude_and_phase(picked)
    initial, batches = x[..., : plan.initial], x[..., plan.initial :]
    inner, outer = np.moveaxis(batches.reshape(*picked.shape, plan.steps, 2, plan.examples), -2, 0)
    flat = (*picked.shape, plan.steps * plan.examples)
    return Episode(
        _waves(amplitude, phase, np.concatenate([initial, inner.reshape(flat)], axis=-1)),
        _waves(amplitude, phase, outer.reshape(flat)),
    )


def _amplitude_and_phase(task: Array) -> tuple[Array, Array]:
    return task // 5 + 1.0, (task % 5 + 1) * (math.pi / 5)


def _waves(amplitude: Array, phase: Array, x: Array) -> Batch[Tensor]:
    """Examples of waves: x and y of shape (*x.shape, 1), float32."""
    y = amplitude[..., None] * np.sin(phase[..., None] + x)
    return Batch(*(torch.from_numpy(values.astype(np.float32))[..., None] for values in (x, y)))
