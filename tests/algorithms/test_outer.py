"""Outer optimisers: PyTorch's SGD and Adam, lengths of steps, what normalising is good for, the registry."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from streammeta.algorithms.moml import moml
from streammeta.algorithms.outer import Outer, adam, clip_norm, clipped, normalized, sgd, sngdm
from streammeta.algorithms.registry import build_learner, build_outer
from streammeta.config import Config
from streammeta.events import Batch, Episode
from streammeta.reproduce.proximal_tasks import tasks
from tests.algorithms.problems import generator
from tests.algorithms.traced import traced
from tests.networks import network

F64 = torch.float64
SIZES = [1e-9, 0.3, 1.0, 7.0, 1e12]


def run(outer: Outer, gradients: list[Tensor], rate: float) -> list[Tensor]:
    """The points from 0 on, one a gradient."""
    points = [torch.zeros_like(gradients[0])]
    slots = outer.init(points[0])
    lr = points[0].new_tensor(rate)
    for gradient in gradients:
        moved, slots = outer.update(points[-1], gradient, slots, lr)
        points.append(moved)
    return points


def drawn(seed: int, steps: int = 50, dtype: torch.dtype = F64) -> list[Tensor]:
    """Gradients of changing sizes."""
    draws = generator(seed)
    rows = torch.randn(steps, 6, generator=draws, dtype=F64).to(dtype)
    return [SIZES[i % len(SIZES)] * row for i, row in enumerate(rows)]


def lengths(points: list[Tensor]) -> Tensor:
    """‖w_{t+1} − w_t‖ for every step."""
    walked = torch.stack(points)
    found: Tensor = torch.linalg.vector_norm(walked[1:] - walked[:-1], dim=1)
    return found


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("outer", [normalized(), sngdm(momentum=0.9), sngdm(momentum=0.0)])
def test_normalised_steps_have_one_length(outer: Outer, dtype: torch.dtype) -> None:
    """Fact 5: ‖Δw‖ = γ whatever the gradient's size, also where its squares under- or overflow."""
    gradients = [scale * row for scale in (1.0, 1e-20, 1e20) for row in drawn(1, 15, dtype)]
    found = lengths(run(outer, gradients, 0.05))
    torch.testing.assert_close(
        found, torch.full_like(found, 0.05), rtol=1e-4 if dtype == torch.float32 else 1e-12, atol=0
    )


@pytest.mark.parametrize("outer", [normalized(), sngdm(momentum=0.9)])
def test_a_zero_gradient_moves_nothing(outer: Outer) -> None:
    """There is no direction: no step, and no NaN."""
    points = run(outer, [torch.zeros(4, dtype=F64)] * 3, 0.05)
    assert torch.equal(points[-1], torch.zeros(4, dtype=F64))


def test_clipped_steps_are_never_longer_than_the_bound() -> None:
    """Fact 5: ‖Δw‖ = min(γ‖g‖, c), along −g, for gradients on both sides of the bound."""
    gradients = [*drawn(2), torch.zeros(6, dtype=F64)]
    points = run(clipped(max_step=0.2), gradients, 0.1)
    norms = torch.stack([gradient.norm() for gradient in gradients])
    assert (0.1 * norms < 0.2).any()
    assert (0.1 * norms > 0.2).any()
    for before, after, gradient, norm in zip(points[:-1], points[1:], gradients, norms, strict=True):
        expected = -min(0.1, 0.2 / norm.item() if norm > 0 else math.inf) * gradient
        torch.testing.assert_close(after - before, expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("settings", [{}, {"beta1": 0.5, "beta2": 0.9, "epsilon": 1e-3}, {"beta1": 0.0}])
def test_adam_is_pytorchs_adam(settings: dict[str, float]) -> None:
    """50 steps over gradients of changing sizes, to 1e-12."""
    gradients = [gradient.clamp(-10, 10) for gradient in drawn(3)]
    points = run(adam(**settings), gradients, 0.01)
    leaf = torch.zeros(6, dtype=F64, requires_grad=True)
    betas = (settings.get("beta1", 0.9), settings.get("beta2", 0.999))
    reference = torch.optim.Adam([leaf], lr=0.01, betas=betas, eps=settings.get("epsilon", 1e-8))
    for point, gradient in zip(points[1:], gradients, strict=True):
        leaf.grad = gradient.clone()
        reference.step()
        torch.testing.assert_close(point, leaf.detach(), rtol=1e-12, atol=1e-12)


def test_adams_first_steps_are_exact_in_float32() -> None:
    """1 − β₂ᵗ is taken in double precision: in float32 it would be off in the third digit."""
    gradients = drawn(4, 5)
    exact = run(adam(beta2=0.99999), gradients, 0.01)[-1]
    single = run(adam(beta2=0.99999), [gradient.float() for gradient in gradients], 0.01)[-1]
    torch.testing.assert_close(single.double(), exact, rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sngdm(momentum=1.0), "momentum must be in"),
        (lambda: clipped(max_step=0.0), "max_step must be positive"),
        (lambda: adam(beta1=1.0), "beta1 must be in"),
        (lambda: adam(beta2=-0.1), "beta2 must be in"),
        (lambda: adam(epsilon=0.0), "epsilon must be positive"),
    ],
)
def test_settings_out_of_range_are_refused(make: Callable[[], Outer], message: str) -> None:
    """The message names the setting."""
    with pytest.raises(ValueError, match=message):
        make()


def gradients(count: int, seed: int = 1) -> Tensor:
    """Random gradients of five numbers."""
    return torch.randn(count, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def walk(outer: Outer, along: Tensor, lr: float = 0.1) -> list[Tensor]:
    """The parameters after each gradient, from zero."""
    params = torch.zeros(5, dtype=torch.float64)
    slots, path = outer.init(params), []
    for gradient in along:
        params, slots = outer.update(params, gradient, slots, torch.tensor(lr, dtype=torch.float64))
        path.append(params)
    return path


def walk_torch(along: Tensor, momentum: float, clip: float | None = None) -> list[Tensor]:
    """The same with `torch.optim.SGD` and `clip_grad_norm_`."""
    leaf = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    optimiser, path = torch.optim.SGD([leaf], lr=0.1, momentum=momentum), []
    for gradient in along:
        leaf.grad = gradient.clone()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_([leaf], clip)
        optimiser.step()
        path.append(leaf.detach().clone())
    return path


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_sgd_is_that_of_torch(momentum: float) -> None:
    """After every one of thirty steps."""
    along = gradients(30)
    for ours, theirs in zip(walk(sgd(momentum=momentum), along), walk_torch(along, momentum), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("bound", [0.5, 2.0, 100.0])
def test_clip_norm_is_that_of_torch(bound: float) -> None:
    """Gradients above and below the bound, in front of momentum."""
    along = gradients(30)
    norms = along.norm(dim=1)
    assert bound == 100.0 or (norms > bound).any()
    ours = walk(clip_norm(sgd(momentum=0.9), bound), along)
    # torch divides by ‖g‖ + 1e-6
    for mine, theirs in zip(ours, walk_torch(along, 0.9, bound), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_a_clipped_step_has_the_length_of_the_bound() -> None:
    """The direction stays; a gradient at or below the bound keeps its bits; zero stays zero."""
    gradient = gradients(1)[0]
    step = -walk(clip_norm(sgd(), 0.25), gradient[None], lr=1.0)[0]
    assert step.norm().item() == pytest.approx(0.25, rel=1e-12)
    torch.testing.assert_close(step / step.norm(), gradient / gradient.norm())
    small = gradient / 1000
    assert torch.equal(-walk(clip_norm(sgd(), 0.25), small[None], lr=1.0)[0], small)
    assert not walk(clip_norm(sgd(), 0.25), torch.zeros(1, 5, dtype=torch.float64))[0].any()


def test_a_gradient_that_is_not_finite_stays_visible() -> None:
    """Clipping hides no overflow: the engine must see it and refuse the event."""
    for bad in (math.inf, math.nan):
        gradient = torch.tensor([[bad, 1.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
        assert not walk(clip_norm(sgd(), 1.0), gradient)[0].isfinite().all()


def test_updates_are_pure() -> None:
    """Parameters, gradient and slots are left as they were."""
    outer = clip_norm(sgd(momentum=0.9), 0.1)
    params, gradient = gradients(2)
    slots = {"momentum": gradients(1, seed=2)[0]}
    before = [tensor.clone() for tensor in (params, gradient, slots["momentum"])]
    outer.update(params, gradient, slots, torch.tensor(0.1))
    assert all(map(torch.equal, before, (params, gradient, slots["momentum"])))


def test_only_momentum_costs_state() -> None:
    """Its slot has the parameters' shape and dtype, and begins at zero."""
    params = gradients(1)[0]
    assert sgd().init(params) == {}
    (slot,) = clip_norm(sgd(momentum=0.1), 1.0).init(params).values()
    assert (slot.shape, slot.dtype, slot.any().item()) == (params.shape, params.dtype, False)


@pytest.mark.parametrize("momentum", [-0.1, 1.0, 1.5, math.nan])
def test_momentum_out_of_range_is_refused(momentum: float) -> None:
    """At 1 a gradient would never be forgotten."""
    with pytest.raises(ValueError, match=r"momentum must be in \[0, 1\), got"):
        sgd(momentum=momentum)


@pytest.mark.parametrize("bound", [0.0, -1.0])
def test_a_bound_that_is_not_positive_is_refused(bound: float) -> None:
    """It would stop learning without a word."""
    with pytest.raises(ValueError, match="clip_norm must be positive"):
        clip_norm(sgd(), bound)


def slope_at_the_end(momentum: float | None, steps: int) -> float:
    """Mean ‖∇F‖ over the last quarter of `steps` steps with one task each, γ = 4T^(−3/4)."""
    given = tasks(20)
    zero = torch.zeros(5, dtype=F64)
    offsets = given.gradients(zero)
    matrices = torch.stack([given.gradients(row) - offsets for row in torch.eye(5, dtype=F64)], dim=-1)
    outer = normalized() if momentum is None else sngdm(momentum=momentum)
    w, slots, lr = zero, outer.init(zero), zero.new_tensor(4 * steps**-0.75)
    order = torch.randint(20, (steps,), generator=generator(6)).tolist()
    total = 0.0
    for t, i in enumerate(order):
        w, slots = outer.update(w, matrices[i] @ w + offsets[i], slots, lr)
        if t >= steps - steps // 4:
            total += (matrices.mean(0) @ w + offsets.mean(0)).norm().item()
    return total / (steps // 4)


def test_with_one_task_a_step_momentum_before_the_norm_is_needed() -> None:
    """Fact 4: SNGDM, β = 1 − T^(−1/2), falls about as T^(−1/4); without momentum the descent stalls."""
    short, long = 400, 12_800
    falling = [slope_at_the_end(1 - steps**-0.5, steps) for steps in (short, long)]
    stalled = [slope_at_the_end(None, steps) for steps in (short, long)]
    assert falling[1] < 0.65 * falling[0]
    assert stalled[1] > 0.9 * stalled[0]
    assert falling[1] < 0.6 * stalled[1]


class TestIndependentHessian:
    """Chapter 1.5: MOML with an independent Hessian batch, at a rate that is too large for plain SGD."""

    net = network("streammeta.models:mlp", {"sizes": [1, 20, 20, 1]})

    @staticmethod
    def event(draws: torch.Generator, examples: int) -> tuple[int, Episode[Tensor]]:
        """One of eight sinusoids, and fresh examples of it."""
        i = int(torch.randint(8, (1,), generator=draws))
        x = 10 * torch.rand(2, 1, examples, 1, generator=draws, dtype=F64) - 5
        y = (1 + 0.5 * i) * torch.sin(x + 0.4 * i)
        return i, Episode(Batch(x[0], y[0]), Batch(x[1], y[1]))

    def learn(self, outer: Outer, rate: float, events: int) -> tuple[bool, float, float]:
        """Whether w stayed finite, and the loss after adaptation at the first and at the last w."""
        learner = moml(
            self.net.loss,
            outer,
            dimension=self.net.dimension,
            inner_lr=0.01,
            meta_lr=rate,
            beta=0.3,
            hessian_set="half",
        )
        draws = generator(3)
        state = first = learner.init(self.net.initial)
        step = traced(learner, state, self.event(draws, 6)[1])
        memories, seen = torch.zeros(8, self.net.dimension, dtype=F64), torch.zeros(8, dtype=F64)
        for _ in range(events):
            i, episode = self.event(draws, 6)
            state, row, _ = step(state, memories[i : i + 1], seen[i : i + 1], episode)
            memories[i], seen[i] = row[0], 1
            if not state.params.isfinite().all():
                return False, math.nan, math.nan
        fresh = [self.event(draws, 20)[1] for _ in range(100)]
        before, after = (
            sum(
                self.net.loss(
                    learner.adapt(at, Batch(e.support.x[0], e.support.y[0])), e.query.x[0], e.query.y[0]
                ).item()
                for e in fresh
            )
            for at in (first, state)
        )
        return True, before, after

    def test_plain_descent_goes_to_nan(self) -> None:
        """The rate that the clipped runs below stand is too much for heavy ball alone."""
        finite, _, _ = self.learn(sgd(momentum=0.9), 0.03, 300)
        assert not finite

    @pytest.mark.parametrize(
        ("outer", "rate"),
        [
            (clip_norm(sgd(momentum=0.9), 0.1), 0.03),
            (clipped(max_step=0.01), 0.03),
            (normalized(), 0.01),
            (sngdm(momentum=0.9), 0.005),
        ],
        ids=["clip_norm", "clipped", "normalized", "sngdm"],
    )
    def test_clipping_or_normalising_makes_it_usable(self, outer: Outer, rate: float) -> None:
        """It stays finite and learns: the loss after adaptation falls by a tenth at least."""
        finite, before, after = self.learn(outer, rate, 900)
        assert finite
        assert after < 0.9 * before


def config_of(**tables: Any) -> Config:
    """A configuration of these tables."""
    return Config.model_validate(tables)


def test_the_registry_builds_what_outer_describes() -> None:
    """Momentum and clipping as set; both steps are those of the pieces."""
    along = gradients(10)
    for settings, expected in (
        ({"momentum": 0.5}, sgd(momentum=0.5)),
        ({"momentum": 0.0, "clip_norm": 0.5}, clip_norm(sgd(), 0.5)),
        ({}, sgd(momentum=0.9)),
    ):
        built = build_outer(config_of(outer=settings).outer)
        assert all(map(torch.equal, walk(built, along), walk(expected, along)))


@pytest.mark.parametrize(
    ("algorithm", "memory_size"),
    [
        ({}, 13),
        ({"name": "moml", "inner_lr": 0.7, "order": "first"}, 13),
        ({"name": "maml", "inner_lr": 0.7}, 0),
    ],
)
def test_the_registry_builds_what_algorithm_describes(algorithm: dict[str, Any], memory_size: int) -> None:
    """Memory per task by algorithm; the rates stand in the state, in the model's dtype."""
    config, made = config_of(algorithm=algorithm, outer={"lr": 0.3}), network()
    learner = build_learner(config.algorithm, config.outer, made)
    state = learner.init(made.initial)
    assert learner.memory_size == memory_size
    assert (state.inner_lr.item(), state.meta_lr.item()) == (algorithm.get("inner_lr", 0.01), 0.3)
    assert state.inner_lr.dtype == torch.float64
    assert set(state.outer) == {"momentum"}


@pytest.mark.parametrize(
    "change",
    [
        {"beta": 0.9},
        {"order": "first"},
        {"hessian_set": "half"},
        {"outer_scale": "beta"},
        {"inner_lr": 0.2},
        {"name": "maml"},
    ],
)
def test_each_setting_of_an_algorithm_reaches_it(change: dict[str, Any]) -> None:
    """Changing one changes what is learned from the same event."""
    made = network()
    draws = torch.Generator().manual_seed(3)
    x, y = (torch.randn(1, 4, n, generator=draws, dtype=torch.float64) for n in (2, 1))
    ends = []
    for settings in ({"inner_lr": 0.1}, {"inner_lr": 0.1} | change):
        config = config_of(algorithm=settings)
        learner = build_learner(config.algorithm, config.outer, made)
        memory = torch.ones(1, learner.memory_size, dtype=torch.float64)
        after, _, _ = learner.update(
            learner.init(made.initial),
            memory,
            torch.ones(1, dtype=torch.float64),
            Episode(Batch(x, y), Batch(x, y)),
        )
        ends.append(after.params)
    assert not torch.equal(*ends)
