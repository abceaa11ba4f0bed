"""One gradient by three roads: difference of solutions, implicit differentiation, bilevel form."""

import torch
from torch import Tensor

from streammeta.algorithms.base import MetaLearner
from streammeta.algorithms.fo_b_maml import fo_b_maml
from streammeta.algorithms.imaml import imaml
from streammeta.algorithms.memory_reduced import memory_reduced
from streammeta.algorithms.outer import sgd
from streammeta.algorithms.split import Split
from streammeta.events import Batch, Episode
from tests.algorithms.problems import PROBLEMS, central_difference, generator, logistic

F64 = torch.float64
LAMBDA, ALPHA, STEPS, SIZE = 0.5, 0.6, 120, 4
PAIR = Split((SIZE, SIZE), (False, True))


def proximal(params: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The logistic loss of the head y, and (λ/2)‖head − body‖² with λ from the last column of the data."""
    body, head = PAIR.parts(params)
    return logistic(head, x[:, :-1], y) + 0.5 * x[0, -1] * (head - body) @ (head - body)


def marked(batch: Batch[Tensor], weight: float) -> Batch[Tensor]:
    """The batch with a column that holds `weight`."""
    return Batch(torch.cat([batch.x, torch.full_like(batch.x[..., :1], weight)], dim=-1), batch.y)


def direction(learner: MetaLearner, w: Tensor, episode: Episode[Tensor]) -> Tensor:
    """h, from one update of rate 1."""
    unseen = torch.zeros(1, dtype=F64)
    after, _, _ = learner.update(learner.init(w), torch.zeros(1, 0, dtype=F64), unseen, episode)
    return w - after.params


def test_three_roads_lead_to_one_gradient() -> None:
    """On a loss that is not quadratic, to 1e-6 of its size; and to that of central differences."""
    problem, draws = PROBLEMS["logistic"], generator(1)
    w, episode = problem.start(draws), problem.episode(draws)
    common = {"inner_lr": ALPHA, "meta_lr": 1.0, "inner_steps": STEPS}

    by_difference = direction(
        fo_b_maml(logistic, sgd(), lambda_=LAMBDA, nu=1e-4, **common),  # type: ignore[arg-type]  # a table of settings
        w,
        episode,
    )
    by_implicit = direction(
        imaml(logistic, sgd(), lambda_=LAMBDA, cg_steps=SIZE, **common),  # type: ignore[arg-type]  # likewise
        w,
        episode,
    )
    by_bilevel, head = PAIR.parts(
        direction(
            memory_reduced(proximal, sgd(), split=PAIR, cg_steps=SIZE, ridge=0.0, **common),  # type: ignore[arg-type]  # likewise
            torch.cat([w, w]),
            Episode(marked(episode.support, LAMBDA), marked(episode.query, 0.0)),
        )
    )
    assert torch.equal(head, torch.zeros(SIZE, dtype=F64))

    support, query = (Batch(batch.x[0], batch.y[0]) for batch in episode)

    def objective(at: Tensor) -> Tensor:
        phi = at
        for _ in range(STEPS):
            phi = phi - ALPHA * (torch.func.grad(logistic)(phi, *support) + LAMBDA * (phi - at))
        return logistic(phi, *query)

    expected = central_difference(objective, w)
    plain = torch.func.grad(logistic)(w, *query)
    assert expected.norm() > 0.05
    assert (plain - expected).norm() > 0.1 * expected.norm()
    for found in (by_difference, by_implicit, by_bilevel):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)
    for found in (by_difference, by_bilevel):
        assert (found - by_implicit).norm() < 1e-6 * by_implicit.norm()


def test_conjugate_gradients_stop_where_the_inner_problem_is_not_convex() -> None:
    """With λ below the most negative curvature iMAML makes no step rather than a wrong one."""

    def saddle(params: Tensor, x: Tensor, _y: Tensor) -> Tensor:
        return (x * params).sum() - 0.5 * params @ params

    ones = Batch(torch.ones(1, 1, 2, dtype=F64), torch.ones(1, 1, 2, dtype=F64))
    learner = imaml(saddle, sgd(), inner_lr=0.1, meta_lr=1.0, inner_steps=2, lambda_=0.5, cg_steps=3)
    assert torch.equal(
        direction(learner, torch.zeros(2, dtype=F64), Episode(ones, ones)), torch.zeros(2, dtype=F64)
    )
    stiff = imaml(saddle, sgd(), inner_lr=0.1, meta_lr=1.0, inner_steps=2, lambda_=2.0, cg_steps=3)
    assert direction(stiff, torch.zeros(2, dtype=F64), Episode(ones, ones)).norm() > 0.1
