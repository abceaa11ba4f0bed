"""MOML v1 and MAML: the facts that the mathematics promises (algorithms chapter 1.6)."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from streammeta.algorithms.base import MetaLearner, State
from streammeta.algorithms.maml import maml
from streammeta.algorithms.moml import moml
from streammeta.algorithms.outer import sgd
from streammeta.algorithms.steps import HessianSet, Order
from streammeta.events import Batch, Episode
from tests.algorithms.problems import PROBLEMS, Problem, central_difference, generator, quadratic
from tests.algorithms.traced import traced

F64 = torch.float64
SEEN = torch.ones(1, dtype=F64)


def learner_of(problem: Problem, **settings: object) -> MetaLearner:
    """MOML on a problem, α = 0.1, η = 0.05 unless told."""
    given: dict[str, object] = {"inner_lr": 0.1, "meta_lr": 0.05, "beta": 0.3} | settings
    return moml(problem.loss, sgd(momentum=0.9), dimension=problem.dimension, **given)  # type: ignore[arg-type]  # a table of settings


@pytest.mark.parametrize("order", ["second", "first"])
@pytest.mark.parametrize("hessian_set", ["support", "half"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_beta_one_is_maml_bit_for_bit(name: str, order: Order, hessian_set: HessianSet) -> None:
    """Fact 1: at β = 1 the trajectory is MAML's, whatever the memory held before."""
    problem = PROBLEMS[name]
    with_memory = learner_of(problem, beta=1.0, order=order, hessian_set=hessian_set)
    without = maml(
        problem.loss, sgd(momentum=0.9), inner_lr=0.1, meta_lr=0.05, order=order, hessian_set=hessian_set
    )
    draws = generator(2)
    a = b = with_memory.init(problem.start(draws))
    for _ in range(30):
        episode = problem.episode(draws)
        junk = 100 * torch.randn(1, problem.dimension, generator=draws, dtype=F64)
        a, _, info_a = with_memory.update(a, junk, SEEN, episode)
        b, _, info_b = without.update(b, torch.zeros(1, 0, dtype=F64), SEEN, episode)
        assert info_a.gradient_norm > 0
        assert torch.equal(a.params, b.params)
        assert torch.equal(info_a.gradient_norm, info_b.gradient_norm)


def test_first_visit_ignores_the_memory() -> None:
    """A first visit takes β = 1: u = w − α∇l(w;S), and its memory loss is unknown."""
    problem = PROBLEMS["sinusoid"]
    draws = generator(3)
    learner = learner_of(problem)
    state = learner.init(problem.start(draws))
    episode = problem.episode(draws)
    junk = torch.randn(1, problem.dimension, generator=draws, dtype=F64)
    _, memory, info = learner.update(state, junk, torch.zeros(1, dtype=F64), episode)
    support = Batch(episode.support.x[0], episode.support.y[0])
    torch.testing.assert_close(memory[0], learner.adapt(state, support), rtol=0, atol=0)
    assert info.loss_memory.isnan().all()
    assert info.tracking_error.item() == 0


def test_without_inner_step_the_memory_rests_at_w() -> None:
    """Fact 4: α = 0 and η = 0 make u = w a fixed point."""
    problem = PROBLEMS["logistic"]
    draws = generator(4)
    learner = learner_of(problem, inner_lr=0.0, meta_lr=0.0)
    state = learner.init(problem.start(draws))
    memory = state.params[None].clone()
    for _ in range(20):
        state, memory, _ = learner.update(state, memory, SEEN, problem.episode(draws))
    assert torch.equal(memory[0], state.params)


@pytest.mark.parametrize("name", PROBLEMS)
def test_alpha_zero_beta_one_is_sgd_with_momentum(name: str) -> None:
    """Fact 4: α = 0, β = 1 follows torch.optim.SGD on the query loss."""
    problem = PROBLEMS[name]
    draws = generator(5)
    learner = learner_of(problem, inner_lr=0.0, beta=1.0)
    state = learner.init(problem.start(draws))
    leaf = state.params.clone().requires_grad_()
    reference = torch.optim.SGD([leaf], lr=0.05, momentum=0.9)
    memory = torch.zeros(1, problem.dimension, dtype=F64)
    for _ in range(50):
        episode = problem.episode(draws)
        state, memory, _ = learner.update(state, memory, SEEN, episode)
        reference.zero_grad()
        problem.loss(leaf, episode.query.x[0], episode.query.y[0]).backward()  # type: ignore[no-untyped-call]  # torch
        assert leaf.grad is not None
        assert leaf.grad.norm() > 1e-6
        reference.step()
        torch.testing.assert_close(state.params, leaf.detach(), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("learner_name", ["moml", "maml"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_meta_gradient_is_the_central_difference(name: str, learner_name: str) -> None:
    """Fact 6: with full batches and β = 1, v is the gradient of L(w − α∇L(w)) to 1e-6."""
    problem = PROBLEMS[name]
    draws = generator(6)
    learner = (
        learner_of(problem, beta=1.0)
        if learner_name == "moml"
        else maml(problem.loss, sgd(), inner_lr=0.1, meta_lr=0.05)
    )
    batch = problem.draw(draws)
    params = problem.start(draws)
    full = Episode(*(Batch(batch.x[None], batch.y[None]) for _ in range(2)))
    memory = torch.zeros(1, learner.memory_size, dtype=F64)
    after, _, _ = learner.update(learner.init(params), memory, SEEN, full)
    measured = (params - after.params) / 0.05

    def objective(w: Tensor) -> Tensor:
        leaf = w.clone().requires_grad_()
        (inner,) = torch.autograd.grad(problem.loss(leaf, *batch), leaf)
        return problem.loss(w - 0.1 * inner, *batch)

    expected = central_difference(objective, params)
    assert expected.norm() > 1e-2
    torch.testing.assert_close(measured, expected, rtol=1e-6, atol=1e-8)


def test_direction_is_taken_at_the_new_memory() -> None:
    """V = (I − α∇²l(w;S)) ∇l(u';Q), by the closed form of a quadratic."""
    draws = generator(7)
    problem = PROBLEMS["quadratic"]
    learner = learner_of(problem)
    params = problem.start(draws)
    episode = problem.episode(draws)
    old = torch.randn(1, 5, generator=draws, dtype=F64)
    after, memory, info = learner.update(learner.init(params), old, SEEN, episode)
    (a, centre), (b, goal) = ((batch.x[0], batch.y[0]) for batch in episode)
    target = params - 0.1 * (a * (params - centre)).mean(0)
    moved = 0.7 * old[0] + 0.3 * target
    direction = (1 - 0.1 * a.mean(0)) * (b * (moved - goal)).mean(0)
    torch.testing.assert_close(memory[0], moved)
    torch.testing.assert_close((params - after.params) / 0.05, direction)
    torch.testing.assert_close(info.gradient_norm, direction.norm())
    torch.testing.assert_close(info.update_norm, 0.05 * direction.norm())
    torch.testing.assert_close(info.tracking_error[0], (moved - target).norm())
    torch.testing.assert_close(info.loss_memory[0], quadratic(old[0], b, goal))
    torch.testing.assert_close(info.loss_meta[0], quadratic(params, b, goal))
    torch.testing.assert_close(info.loss_adapted[0], quadratic(target, b, goal))


def test_half_splits_the_support_set() -> None:
    """hessian_set = "half": the first half adapts, the other half gives the Hessian."""
    draws = generator(8)
    problem = PROBLEMS["quadratic"]
    learner = learner_of(problem, hessian_set="half", beta=1.0)
    params = problem.start(draws)
    episode = problem.episode(draws)
    after, memory, _ = learner.update(learner.init(params), torch.zeros(1, 5, dtype=F64), SEEN, episode)
    (a, centre), (b, goal) = ((batch.x[0], batch.y[0]) for batch in episode)
    target = params - 0.1 * (a[:3] * (params - centre[:3])).mean(0)
    direction = (1 - 0.1 * a[3:].mean(0)) * (b * (target - goal)).mean(0)
    torch.testing.assert_close(memory[0], target)
    torch.testing.assert_close((params - after.params) / 0.05, direction)


def test_half_needs_two_examples() -> None:
    """One support example cannot be split; the message names the setting."""
    problem = PROBLEMS["quadratic"]
    learner = learner_of(problem, hessian_set="half")
    draws = generator(9)
    episode = problem.episode(draws)
    one = Episode(Batch(episode.support.x[:, :1], episode.support.y[:, :1]), episode.query)
    with pytest.raises(ValueError, match='hessian_set = "half" needs at least 2'):
        learner.update(learner.init(problem.start(draws)), torch.zeros(1, 5, dtype=F64), SEEN, one)


def test_outer_scale_multiplies_by_the_memory_rate() -> None:
    """outer_scale = "beta" is what differentiating through (1−β)u + β(w − α∇l) gives, in first order."""
    problem = PROBLEMS["sinusoid"]
    draws = generator(10)
    learner = learner_of(problem, order="first", outer_scale="beta")
    params = problem.start(draws)
    old = torch.randn(problem.dimension, generator=draws, dtype=F64)
    episode = problem.episode(draws)
    after, _, _ = learner.update(learner.init(params), old[None], SEEN, episode)
    leaf = params.clone().requires_grad_()
    inner = torch.autograd.grad(problem.loss(leaf, episode.support.x[0], episode.support.y[0]), leaf)[0]
    moved = 0.7 * old + 0.3 * (leaf - 0.1 * inner)
    (expected,) = torch.autograd.grad(problem.loss(moved, episode.query.x[0], episode.query.y[0]), leaf)
    torch.testing.assert_close((params - after.params) / 0.05, expected)


class TestTracking:
    """Fact 5: at a frozen w the memory is a moving average of w − α∇l(w;S)."""

    beta, alpha = 0.2, 0.1

    def visits(self, count: int) -> tuple[Tensor, Tensor, State]:
        """Memories after each of `count` visits, and the noisy targets they track."""
        problem = PROBLEMS["quadratic"]
        learner = learner_of(problem, beta=self.beta, meta_lr=0.0)
        draws = generator(11)
        state = learner.init(problem.start(draws))
        update = traced(learner, state, problem.episode(generator(1)))
        memory, memories, targets = torch.full((1, 5), 50.0, dtype=F64), [], []
        for _ in range(count):
            episode = problem.episode(draws)
            state, memory, _ = update(state, memory, SEEN, episode)
            memories.append(memory[0])
            targets.append(learner.adapt(state, Batch(episode.support.x[0], episode.support.y[0])))
        return torch.stack(memories), torch.stack(targets), state

    def test_mean_and_variance(self) -> None:
        """Stationary: E u = g(w), Var u = β/(2−β) Var g̃, within 4 standard errors and 20 %."""
        memories, targets, _ = self.visits(3000)
        memories, targets = memories[200:], targets[200:]
        error = targets.std(0) / math.sqrt(len(targets)) * math.sqrt((2 - self.beta) / self.beta)
        assert ((memories.mean(0) - targets.mean(0)).abs() < 4 * error).all()
        expected = self.beta / (2 - self.beta) * targets.var(0)
        assert expected.min() > 0
        torch.testing.assert_close(memories.var(0), expected, rtol=0.2, atol=0)

    def test_error_decays_with_visits(self) -> None:
        """The distance to a noise-free target shrinks by (1 − β) a visit, exactly."""
        problem = PROBLEMS["quadratic"]
        learner = learner_of(problem, beta=self.beta, meta_lr=0.0)
        draws = generator(12)
        state = learner.init(problem.start(draws))
        episode = problem.episode(draws)
        target = learner.adapt(state, Batch(episode.support.x[0], episode.support.y[0]))
        memory = start = torch.full((1, 5), 50.0, dtype=F64)
        for visit in range(1, 30):
            _, memory, info = learner.update(state, memory, SEEN, episode)
            expected = (start[0] - target) * (1 - self.beta) ** visit
            torch.testing.assert_close(memory[0] - target, expected, rtol=1e-9, atol=1e-9)
            torch.testing.assert_close(info.tracking_error[0], expected.norm(), rtol=1e-9, atol=1e-9)


class TestNoiseFloor:
    """Fact 8: with one example a batch MAML stalls at a floor; MOML's floor falls with β and η.

    One task with examples z = −1 (60 %) or 1.5 (40 %) and l(w; z) = softplus(3(w−z)) − w + 0.15 (w−z)².
    The loss is not quadratic, so noise in the inner step moves the point at which MAML comes to rest.
    The minimiser is found by bisection on the exact meta-gradient.
    """

    alpha, chains = 0.3, 128

    @staticmethod
    def loss(params: Tensor, x: Tensor, _y: Tensor) -> Tensor:
        """Mean over examples x (n, 1) at a scalar parameter (1,)."""
        gap = params - x
        return (functional.softplus(3 * gap) - params + 0.15 * gap**2).mean()

    def minimiser(self) -> float:
        """Where the gradient of L(w − α∇L(w)) vanishes, over all examples."""
        examples = torch.tensor([[-1.0]] * 6 + [[1.5]] * 4, dtype=F64)
        slope = torch.func.grad(lambda w: self.loss(w, examples, examples).sum())
        low, high = -3.0, 3.0
        for _ in range(60):
            middle = torch.tensor([(low + high) / 2], dtype=F64)
            rising = slope(middle - self.alpha * slope(middle)).item() > 0
            low, high = (low, middle.item()) if rising else (middle.item(), high)
        return low

    def floor(self, beta: float, eta: float, events: int) -> float:
        """|late mean of w − minimiser| over independent chains that begin at the minimiser."""
        learner = moml(
            self.loss, sgd(), dimension=1, inner_lr=self.alpha, meta_lr=eta, beta=beta, hessian_set="half"
        )
        update = torch.func.vmap(learner.update, in_dims=(0, 0, None, 0))
        best, draws = self.minimiser(), generator(14)
        state = State(*torch.func.vmap(learner.init)(torch.full((self.chains, 1), best, dtype=F64)))
        memory = torch.full((self.chains, 1, 1), best, dtype=F64)
        total = 0.0
        for event in range(events):
            x = torch.where(torch.rand(self.chains, 1, 3, 1, generator=draws) < 0.6, -1.0, 1.5).double()
            episode = Episode(Batch(x[:, :, :2], x[:, :, :2]), Batch(x[:, :, 2:], x[:, :, 2:]))
            state, memory, _ = update(state, memory, SEEN, episode)
            total += state.params.mean().item() if event >= events // 3 else 0.0
        return abs(total / (events - events // 3) - best)

    def test_memory_lowers_the_floor(self) -> None:
        """The floors fall in the order MAML, β = 0.3, β = 0.05 with a smaller η."""
        maml_floor = self.floor(beta=1.0, eta=0.05, events=450)
        middle = self.floor(beta=0.3, eta=0.05, events=450)
        low = self.floor(beta=0.05, eta=0.02, events=900)
        assert maml_floor > 0.1
        assert low < middle < 0.6 * maml_floor
        assert low < 0.2 * maml_floor
