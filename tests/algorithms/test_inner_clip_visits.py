"""Clipped inner steps over several steps and visits, and events that overflow without a clip."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from streammeta.algorithms.outer import sgd
from streammeta.events import Batch, Episode
from tests.algorithms.learners import head_of
from tests.algorithms.problems import Problem, central_difference, generator
from tests.algorithms.test_inner_clip import ALPHA, BUILDS, PROBLEM


def _by_differences(
    start: Tensor, memory: Tensor, pieces: list[tuple[Batch[Tensor], Batch[Tensor]]], beta: float, clip: float
) -> tuple[Tensor, Tensor]:
    """Steps of MOML, one for each (support, query): w after them and the memory, by first derivatives alone.

    The direction is that of w -> g · (w − αp min(1, c/‖p‖)) at fixed g = ∇l(u;Q), by central differences.
    """

    def gradient(params: Tensor, batch: Batch[Tensor]) -> Tensor:
        found: Tensor = torch.func.grad(PROBLEM.loss)(params, *batch)
        return found

    def target(params: Tensor, support: Batch[Tensor]) -> Tensor:
        p = gradient(params, support)
        return params - ALPHA * p * min(1.0, clip / float(p.norm()))

    def along(g: Tensor, support: Batch[Tensor], params: Tensor) -> Tensor:
        return g @ target(params, support)

    params = start
    for support, query in pieces:
        memory = (1 - beta) * memory + beta * target(params, support)
        g = gradient(memory, query)
        params = params - central_difference(partial(along, g, support), params)
    return params, memory


@pytest.mark.parametrize("clip", [0.3, 1e3], ids=["clipped", "not clipped"])
def test_moml_at_a_known_task_is_exact_through_the_clip(clip: float) -> None:
    """β < 1: the memory moves part of the way to the clipped step's end, and the direction is taken there."""
    draws = generator(10)
    params, memory = PROBLEM.start(draws), PROBLEM.start(draws)
    episode = PROBLEM.episode(draws)
    support, query = (Batch(*(tensor[0] for tensor in batch)) for batch in episode)
    learner = BUILDS["moml"](PROBLEM.loss, sgd(), inner_clip_norm=clip, beta=0.3)
    seen = torch.ones(1, dtype=torch.float64)
    after, moved, _ = learner.update(learner.init(params), memory[None], seen, episode)
    expected, remembered = _by_differences(params, memory, [(support, query)], 0.3, clip)
    assert (expected - params).norm() > 1e-2
    torch.testing.assert_close(moved[0], remembered, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(after.params, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("clip", [0.3, 1e3], ids=["clipped", "not clipped"])
@pytest.mark.parametrize("beta", [1.0, 0.4])
def test_local_steps_are_exact_through_the_clip(beta: float, clip: float) -> None:
    """Three local steps of a client that is known, each clipped and pulled back at its own point."""
    draws, problem = generator(11), PROBLEM
    params, memory = problem.start(draws), problem.start(draws)
    pieces = [(problem.draw(draws), problem.draw(draws)) for _ in range(3)]
    initial = problem.draw(draws)
    support = Batch(
        *(torch.cat(tensors)[None] for tensors in zip(initial, *(s for s, _ in pieces), strict=True))
    )
    query = Batch(*(torch.cat(tensors)[None] for tensors in zip(*(q for _, q in pieces), strict=True)))
    learner = BUILDS["local_moml"](
        problem.loss,
        sgd(),
        inner_clip_norm=clip,
        beta=beta,
        local_steps=3,
        initial_examples=len(initial.x),
    )
    seen = torch.ones(1, dtype=torch.float64)
    after, moved, _ = learner.update(learner.init(params), memory[None], seen, Episode(support, query))
    expected, remembered = _by_differences(params, memory, pieces, beta, clip)
    assert (expected - params).norm() > 1e-2
    torch.testing.assert_close(moved[0], remembered, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(after.params, expected, rtol=1e-6, atol=1e-6)


def _linear(params: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Squared error of a linear regression."""
    return ((x @ params - y) ** 2).mean()


def _draw_linear(draws: torch.Generator) -> Batch[Tensor]:
    x = torch.randn(6, 5, generator=draws, dtype=torch.float64)
    return Batch(x, x.sum(1))


@pytest.mark.parametrize(
    "name", ["maml", "anil", "multi_step_maml", "reptile", "fo_b_maml", "imaml", "memory_reduced"]
)
def test_an_event_a_million_times_too_large(name: str) -> None:
    """Four steps on it overflow float32 without a clip; with one all is finite, and they end within αNc."""
    linear = Problem(_linear, 5, _draw_linear)
    draws = generator(12)
    params = linear.start(draws).float()
    event = Episode(*(Batch(*(1e6 * tensor.float() for tensor in batch)) for batch in linear.episode(draws)))
    support = Batch(*(tensor[0] for tensor in event.support))
    changes: dict[str, Any] = {"inner_steps": 4} | (
        {"split": head_of(linear)} if name in ("anil", "memory_reduced") else {}
    )

    def after(clip: float | None) -> tuple[Tensor, Tensor]:
        learner = BUILDS[name](linear.loss, sgd(), inner_clip_norm=clip, **changes)
        state, none, seen = learner.init(params), torch.zeros(1, learner.memory_size), torch.zeros(1)
        return learner.update(state, none, seen, event)[0].params, learner.adapt(state, support)

    learned, adapted = after(None)
    assert not learned.isfinite().all()
    assert not adapted.isfinite().all()
    learned, adapted = after(1.0)
    size = torch.linalg.vector_norm(torch.func.grad(linear.loss)(params, *support))
    assert (learned - params).norm() < 10 * size
    assert (adapted - params).norm() <= ALPHA * 4 * (1 + 1e-6)
