"""Schedules: the factor at every update, and the optimiser below them."""

import math
from collections.abc import Callable

import pytest
import torch

from streammeta.algorithms.outer import Outer, adam, sgd
from streammeta.algorithms.registry import build_outer
from streammeta.algorithms.schedules import Schedule, constant, cosine, inverse_sqrt, scheduled, step
from streammeta.config import load_config
from tests.algorithms.problems import generator

F64 = torch.float64
EXPECTED: dict[str, Callable[[int], float]] = {
    "constant": lambda _: 1.0,
    "step": lambda t: 0.5 ** ((t >= 5) + (t >= 8)),
    "inverse_sqrt": lambda t: 1 / math.sqrt(1 + t / 10),
    "cosine": lambda t: 0.1 + 0.9 * (1 + math.cos(math.pi * min(t, 10) / 10)) / 2,
}
SCHEDULES: dict[str, Schedule] = {
    "constant": constant(),
    "step": step(10, [0.5, 0.8], 0.5),
    "inverse_sqrt": inverse_sqrt(10),
    "cosine": cosine(10, floor=0.1),
}
WRITTEN = {
    "constant": "{name='constant'}",
    "step": "{name='step', updates=10, fractions=[0.5, 0.8], factor=0.5}",
    "inverse_sqrt": "{name='inverse_sqrt', updates=10}",
    "cosine": "{name='cosine', updates=10, floor=0.1}",
}


def steps_of(outer: Outer, count: int, rate: float = 0.5) -> list[float]:
    """What each update subtracts from w with a gradient of 1."""
    w = torch.zeros(1, dtype=F64)
    slots, taken = outer.init(w), []
    for _ in range(count):
        after, slots = outer.update(w, torch.ones(1, dtype=F64), slots, w.new_tensor(rate))
        taken.append((w - after).item())
        w = after
    return taken


@pytest.mark.parametrize("name", SCHEDULES)
def test_each_update_has_the_rate_of_its_number(name: str) -> None:
    """η times the factor at t = 0, 1, …, past the end too, by name in the configuration as well."""
    expected = [0.5 * EXPECTED[name](t) for t in range(15)]
    assert len(set(expected)) > 1 or name == "constant"
    configured = load_config(None, ["outer.momentum=0.0", f"outer.schedule={WRITTEN[name]}"], {})
    for outer in (scheduled(sgd(), SCHEDULES[name]), build_outer(configured.outer)):
        assert steps_of(outer, 15) == pytest.approx(expected, rel=1e-12)


def test_the_base_rate_may_change_on_the_way() -> None:
    """A reload changes η; the schedule goes on where it was."""
    outer = scheduled(sgd(), step(10, [0.2], 0.1))
    w = torch.zeros(1, dtype=F64)
    slots = outer.init(w)
    for rate, expected in ((1.0, 1.0), (1.0, 1.0), (1.0, 0.1), (4.0, 0.4)):
        after, slots = outer.update(w, torch.ones(1, dtype=F64), slots, w.new_tensor(rate))
        assert (w - after).item() == pytest.approx(expected, rel=1e-12)
        w = after


def test_the_optimiser_below_keeps_its_own_state() -> None:
    """Scheduled Adam is Adam with a rate that changes from step to step."""
    draws = generator(1)
    leaf = torch.zeros(4, dtype=F64, requires_grad=True)
    reference = torch.optim.Adam([leaf], lr=0.1)
    decay = torch.optim.lr_scheduler.LambdaLR(reference, EXPECTED["inverse_sqrt"])
    outer = scheduled(adam(), inverse_sqrt(10))
    w = torch.zeros(4, dtype=F64)
    slots = outer.init(w)
    for _ in range(20):
        gradient = torch.randn(4, generator=draws, dtype=F64)
        w, slots = outer.update(w, gradient, slots, w.new_tensor(0.1))
        leaf.grad = gradient.clone()
        reference.step()
        decay.step()
        torch.testing.assert_close(w, leaf.detach(), rtol=1e-11, atol=1e-12)


def test_the_count_is_exact_beyond_what_float32_can_count() -> None:
    """It is an integer: at 2^24 updates a float32 would no longer move."""
    outer = scheduled(sgd(), constant())
    w = torch.zeros(1)
    late = {name: torch.full_like(slot, 2**24) for name, slot in outer.init(w).items()}
    _, after = outer.update(w, torch.ones(1), late, torch.tensor(0.1))
    assert after["scheduled"].item() == 2**24 + 1
