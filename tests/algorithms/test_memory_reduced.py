"""Memory-reduced meta-learning: the facts that the mathematics promises (algorithms chapter 4)."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from streammeta.algorithms.base import MetaLearner
from streammeta.algorithms.memory_reduced import memory_reduced
from streammeta.algorithms.outer import sgd
from streammeta.algorithms.split import Split
from streammeta.events import Batch, Episode
from tests.algorithms.problems import PROBLEMS, central_difference, generator
from tests.algorithms.traced import traced

F64 = torch.float64
P, Q = 3, 4
RIDGE, RHO = 0.3, 0.2
ENDS = Split((P, Q), (False, True))


def loss(params: Tensor, blocks: Tensor, weight: Tensor) -> Tensor:
    """½yᵀMy − yᵀNx − cᵀy + ½ρ‖x‖² with data M, N, c = blocks (q, q + p + 1) and ρ = weight (1,)."""
    x, y = ENDS.parts(params)
    matrix, coupling, centre = torch.split(blocks, [Q, P, 1], dim=1)
    return 0.5 * y @ matrix @ y - y @ coupling @ x - centre.squeeze(1) @ y + 0.5 * weight.squeeze(0) * x @ x


@dataclass(frozen=True)
class Tasks:
    """Tasks g = ½yᵀAy − yᵀCx (ridge in A), f = ½‖y−b‖² + ½ρ‖x‖²: A (n, q, q), C (n, q, p), b (n, q)."""

    a: Tensor
    c: Tensor
    b: Tensor

    @property
    def episode(self) -> Episode[Tensor]:
        """The support set holds g less its ridge, the query set f but for a constant."""
        eye, zeros = torch.eye(Q, dtype=F64).expand_as(self.a), torch.zeros_like(self.c)
        support = torch.cat([self.a - RIDGE * eye, self.c, torch.zeros_like(self.b)[..., None]], dim=2)
        query = torch.cat([eye, zeros, self.b[..., None]], dim=2)
        weights = torch.full((len(self.b), 1), RHO, dtype=F64)
        return Episode(Batch(support, torch.zeros_like(weights)), Batch(query, weights))

    def gradient(self, x: Tensor) -> Tensor:
        """∇F = mean ρx + CᵀA⁻¹(A⁻¹Cx − b)."""
        heads = torch.linalg.solve(self.a, self.c @ x)
        pulled = torch.linalg.solve(self.a, heads - self.b)
        return RHO * x + torch.einsum("nqp,nq->np", self.c, pulled).mean(0)


def tasks(count: int, seed: int = 1) -> Tasks:
    """Random tasks, curvatures of A in [0.5, 2]."""
    draws = generator(seed)
    basis = torch.linalg.qr(torch.randn(count, Q, Q, generator=draws, dtype=F64)).Q
    values = 0.5 + 1.5 * torch.rand(count, Q, generator=draws, dtype=F64)
    a = basis @ torch.diag_embed(values) @ basis.mT
    c = torch.randn(count, Q, P, generator=draws, dtype=F64)
    return Tasks(a, c, torch.randn(count, Q, generator=draws, dtype=F64))


def learner_of(
    *, inner_steps: int, cg_steps: int, meta_lr: float = 1.0, warm_start: bool = False
) -> MetaLearner:
    """On the oracle's loss."""
    return memory_reduced(
        loss,
        sgd(),
        split=ENDS,
        inner_lr=0.4,
        meta_lr=meta_lr,
        inner_steps=inner_steps,
        cg_steps=cg_steps,
        ridge=RIDGE,
        cg_tolerance=0.0,
        warm_start=warm_start,
    )


def run(learner: MetaLearner, given: Tasks, events: int) -> tuple[Tensor, Tensor]:
    """The body and the memories after visits of all tasks at once, from a random point."""
    count = len(given.b)
    state = learner.init(torch.randn(P + Q, generator=generator(2), dtype=F64))
    memory, seen = torch.zeros(count, learner.memory_size, dtype=F64), torch.zeros(count, dtype=F64)
    step = traced(learner, state, given.episode)
    for _ in range(events):
        state, memory, _ = step(state, memory, seen, given.episode)
        seen = torch.ones_like(seen)
    return ENDS.parts(state.params)[0], memory


def test_direction_is_the_oracles_gradient() -> None:
    """Fact 1: with the head solved and q steps of conjugate gradients, h is ∇F; the head of w stays."""
    given = tasks(3)
    learner = learner_of(inner_steps=150, cg_steps=Q)
    w = torch.randn(P + Q, generator=generator(3), dtype=F64)
    empty = torch.zeros(3, 0, dtype=F64)
    after, _, _ = learner.update(learner.init(w), empty, torch.zeros(3, dtype=F64), given.episode)
    body, head = ENDS.parts(w - after.params)
    expected = given.gradient(w[:P])
    assert expected.norm() > 0.1
    torch.testing.assert_close(body, expected, rtol=1e-10, atol=1e-12)
    assert torch.equal(head, torch.zeros(Q, dtype=F64))


def test_warm_start_is_exact_in_the_limit_and_cold_start_is_not() -> None:
    """Fact 4: one step of the head and one of conjugate gradients an event, the same data every time."""
    given = tasks(3)
    warm, memory = run(learner_of(inner_steps=1, cg_steps=1, meta_lr=0.1, warm_start=True), given, 200)
    cold, _ = run(learner_of(inner_steps=1, cg_steps=1, meta_lr=0.1), given, 200)
    assert given.gradient(warm).norm() < 1e-12
    assert given.gradient(cold).norm() > 0.05
    heads, multipliers = torch.split(memory, Q, dim=1)
    torch.testing.assert_close(heads, torch.linalg.solve(given.a, given.c @ warm))
    torch.testing.assert_close(multipliers, torch.linalg.solve(given.a, heads - given.b))


def test_a_first_visit_ignores_the_memory() -> None:
    """It begins at the head of w and at v = 0, whatever the row holds; the loss at the memory is unknown."""
    given, learner = tasks(1), learner_of(inner_steps=2, cg_steps=2, warm_start=True)
    cold = learner_of(inner_steps=2, cg_steps=2)
    state = learner.init(torch.randn(P + Q, generator=generator(4), dtype=F64))
    junk, unseen = torch.full((1, 2 * Q), 7.0, dtype=F64), torch.zeros(1, dtype=F64)
    after, memory, info = learner.update(state, junk, unseen, given.episode)
    fresh, _, _ = cold.update(state, junk[:, :0], unseen, given.episode)
    torch.testing.assert_close(after.params, fresh.params, rtol=1e-13, atol=1e-14)
    assert info.loss_memory.isnan().all()
    again, _, known = learner.update(state, memory, torch.ones(1, dtype=F64), given.episode)
    assert (again.params - after.params).norm() > 1e-3
    query = Batch(given.episode.query.x[0], given.episode.query.y[0])
    assert learner.task_params
    own = learner.task_params(state, memory[0])
    torch.testing.assert_close(own, ENDS.join(state.params[:P], memory[0, :Q]))
    torch.testing.assert_close(known.loss_memory[0], loss(own, *query))


def test_direction_is_the_central_difference_of_the_implicit_objective() -> None:
    """On a network: h is the derivative of x -> f(x, y*(x)), y* by Newton's method on the support set."""
    problem, split, ridge = PROBLEMS["sinusoid"], Split((16, 9), (False, True)), 0.1
    draws = generator(5)
    w, episode = problem.start(draws), problem.episode(draws)
    support, query = (Batch(batch.x[0], batch.y[0]) for batch in episode)

    def solved(body: Tensor) -> Tensor:
        def objective(y: Tensor) -> Tensor:
            return problem.loss(split.join(body, y), *support) + 0.5 * ridge * y @ y

        y, slope = torch.zeros(9, dtype=F64), torch.func.grad(objective)
        for _ in range(3):  # quadratic in y: one step is exact
            y = y - torch.linalg.solve(torch.func.jacrev(slope)(y), slope(y))
        return y

    learner = memory_reduced(
        problem.loss,
        sgd(),
        split=split,
        inner_lr=0.0,
        meta_lr=1.0,
        inner_steps=0,
        cg_steps=30,
        ridge=ridge,
        warm_start=True,
    )
    body = split.parts(w)[0]
    memory = torch.cat([solved(body), torch.zeros(9, dtype=F64)])[None]
    after, _, _ = learner.update(learner.init(w), memory, torch.ones(1, dtype=F64), episode)
    expected = central_difference(lambda x: problem.loss(split.join(x, solved(x)), *query), body)
    assert expected.norm() > 0.1
    torch.testing.assert_close(split.parts(w - after.params)[0], expected, rtol=1e-5, atol=1e-6)


def test_adapt_takes_the_heads_steps() -> None:
    """K steps y ← y − α(∇_y loss + μy) from the head of w, the body untouched."""
    given, learner = tasks(1), learner_of(inner_steps=3, cg_steps=1)
    w = torch.randn(P + Q, generator=generator(6), dtype=F64)
    support = given.episode.support
    found = learner.adapt(learner.init(w), Batch(support.x[0], support.y[0]))
    x, y = ENDS.parts(w)
    for _ in range(3):
        y = y - 0.4 * (given.a[0] @ y - given.c[0] @ x)
    torch.testing.assert_close(found, torch.cat([x, y]))


@pytest.mark.parametrize("setting", [{"inner_steps": -1}, {"cg_steps": 0}, {"ridge": -0.1}])
def test_settings_out_of_range_are_refused(setting: dict[str, float]) -> None:
    """The message names the settings."""
    given: dict[str, float] = {"inner_lr": 0.1, "meta_lr": 0.1, "inner_steps": 2, "cg_steps": 2, "ridge": 0.1}
    with pytest.raises(ValueError, match="inner_steps and ridge must not be negative"):
        memory_reduced(loss, sgd(), split=ENDS, **(given | setting))  # type: ignore[arg-type]  # a table of settings
