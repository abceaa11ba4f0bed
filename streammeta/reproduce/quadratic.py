"""First-order bilevel meta-learning on quadratic tasks, where every gradient has a closed form.

Three facts of chapter 2: the error of the difference quotient is of first (forward) or second (symmetric)
order in ν; descent comes to rest at ‖∇F‖ of that order, where first-order MAML and Reptile stall at a floor
that no step size removes; with one task a step, normalised descent stalls and SNGDM keeps falling.

The errors are those of the learner itself. Descents are long, and take its direction from the closed form,
with which the learner agrees to rounding; both are affine in w.
Source: Chayti, Jaggi 2024, arXiv:2409.03682; the reference floors are derived, on other random tasks.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, get_args

import torch
from torch import Tensor

from streammeta.algorithms.fo_b_maml import Difference, fo_b_maml
from streammeta.algorithms.outer import Outer, normalized, sgd, sngdm
from streammeta.reproduce.proximal_tasks import LAMBDA, Tasks, loss, tasks
from streammeta.reproduce.report import Curve, Measured, Panel, Progress, Report, Row, slope

TASKS: Final = 20
DIMENSION: Final = 5
NUS: Final = (0.08, 0.04, 0.02, 0.01)
LENGTHS: Final = (400, 1600, 6400, 25_600)
SEEDS: Final = 5
ONE_TASK_NU: Final = 0.01
INNER_LR, INNER_STEPS = 0.45, 40
"""They shrink the error of the inner problem to 1e-13."""
DESCENT_STEPS: Final = 1000
ORDERS: Final[dict[Difference, float]] = {"forward": 1.0, "symmetric": 2.0}
FLOORS: Final = {"fo_maml": 0.095, "reptile": 0.171}

Direction = Callable[[Tasks, Tensor], Tensor]
"""(tasks, w (d,)) -> what moves w, a task a row (n, d)."""


class Affine(NamedTuple):
    """Directions M_i w + c_i: matrices (n, d, d) and offsets (n, d)."""

    matrices: Tensor
    offsets: Tensor

    @classmethod
    def of(cls, direction: Direction, given: Tasks) -> "Affine":
        """From the values at zero and at the unit vectors."""
        zero = torch.zeros(DIMENSION, dtype=torch.float64)
        offsets = direction(given, zero)
        columns = [direction(given, row) - offsets for row in torch.eye(DIMENSION, dtype=torch.float64)]
        return cls(torch.stack(columns, dim=-1), offsets)


def quadratic(
    progress: Progress,
    *,
    nus: Sequence[float] = NUS,
    lengths: Sequence[int] = LENGTHS,
    seeds: int = SEEDS,
) -> Report:
    """All three facts, on as many draws of 20 tasks as there are seeds."""
    torch.set_num_threads(1)
    given = [tasks(TASKS, DIMENSION, seed) for seed in range(1, seeds + 1)]
    parts = [
        _errors(given, nus, progress),
        _floors(given, nus, progress),
        _one_task(given, lengths, progress),
    ]
    return Report(
        "quadratic",
        f"{TASKS} quadratic tasks, d = {DIMENSION}",
        ("figure",),
        f"sd over {seeds} draws of the tasks",
        [row for rows, _ in parts for row in rows],
        [panel for _, panel in parts],
        ("published: the orders are exact; the floors are derived, on another family of random tasks",),
    )


Part = tuple[list[Row], Panel]


def _errors(given: list[Tasks], nus: Sequence[float], progress: Progress) -> Part:
    """Fact 2: ‖h − ∇F‖ against ν at one point."""
    rows, curves = [], []
    point = torch.ones(DIMENSION, dtype=torch.float64)
    for difference in get_args(Difference):
        errors: list[list[float]] = []
        for nu in nus:
            progress(f"error, {difference}", len(errors) + 1, len(nus))
            found = [_learners_direction(each, point, nu, difference) for each in given]
            exact = [each.gradients(point).mean(0) for each in given]
            errors.append([(f - e).norm().item() for f, e in zip(found, exact, strict=True)])
        rows.append(_order_row(difference, "order in ν of the error", nus, errors))
        curves.append(_curve(difference, nus, errors))
    return rows, Panel("error of the meta-gradient", "ν", "‖h − ∇F‖", curves, "log", "log")


def _floors(given: list[Tasks], nus: Sequence[float], progress: Progress) -> Part:
    """Fact 3: ‖∇F‖ where descent comes to rest."""
    rows, curves = [], []
    for difference in get_args(Difference):
        rests: list[list[float]] = []
        for nu in nus:
            progress(f"rest, {difference}", len(rests) + 1, len(nus))
            rests.append(_rests(given, _quotient(nu, difference)))
        rows.append(_order_row(difference, "order in ν of ‖∇F‖ at rest", nus, rests))
        rows.append(Row(difference, f"‖∇F‖ at rest, ν = {nus[-1]}", (Measured.over(rests[-1]),)))
        curves.append(_curve(difference, nus, rests))
    for (name, published), direction in zip(FLOORS.items(), (_fo_maml, _reptile), strict=True):
        floor = _rests(given, direction)
        rows.append(Row(name, "‖∇F‖ at rest", (Measured.over(floor),), Measured(published)))
        curves.append(_curve(name, nus, [floor] * len(nus)))
    return rows, Panel("where descent rests", "ν", "‖∇F‖", curves, "log", "log")


def _one_task(given: list[Tasks], lengths: Sequence[int], progress: Progress) -> Part:
    """Fact 4: ‖∇F‖ over the last quarter of T steps of one task each, γ = 4T^(−3/4), β = 1 − T^(−1/2)."""
    rows, curves = [], []
    for name in ("normalized", "sngdm"):
        ends: list[list[float]] = []
        for length in lengths:
            progress(f"one task a step, {name}", len(ends) + 1, len(lengths))
            outer = sngdm(momentum=1 - length**-0.5) if name == "sngdm" else normalized()
            ends.append([_last_quarter(outer, each, length) for each in given])
            rows.append(Row(name, f"‖∇F‖, one task a step, T = {length:,}", (Measured.over(ends[-1]),)))
        curves.append(_curve(name, lengths, ends))
    return rows, Panel("one task a step", "steps T", "‖∇F‖, last quarter", curves, "log", "log")


def _learners_direction(given: Tasks, w: Tensor, nu: float, difference: Difference) -> Tensor:
    """mean_i h_i at w, from one update of rate 1."""
    learner = fo_b_maml(
        loss,
        sgd(),
        inner_lr=INNER_LR,
        meta_lr=1.0,
        inner_steps=INNER_STEPS,
        lambda_=LAMBDA,
        nu=nu,
        difference=difference,
    )
    nothing = w.new_zeros(len(given.a), 0)
    after, _, _ = learner.update(learner.init(w), nothing, w.new_zeros(len(given.a)), given.episode)
    return w - after.params


def _quotient(nu: float, difference: Difference) -> Direction:
    return lambda given, w: given.directions(w, nu, difference)


def _fo_maml(given: Tasks, w: Tensor) -> Tensor:
    return given.query_gradient(given.solution(w))


def _reptile(given: Tasks, w: Tensor) -> Tensor:
    return w - given.solution(w)


def _rests(given: list[Tasks], direction: Direction) -> list[float]:
    """‖∇F‖ of each draw where descent along the mean direction, all tasks at every step, comes to rest."""
    rests: list[float] = []
    for each in given:
        matrix, offset = (tensor.mean(0) for tensor in Affine.of(direction, each))
        w = torch.zeros(DIMENSION, dtype=torch.float64)
        for _ in range(DESCENT_STEPS):
            w = w - 0.5 * (matrix @ w + offset)
        rests.append(each.gradients(w).mean(0).norm().item())
    return rests


def _last_quarter(outer: Outer, given: Tasks, length: int) -> float:
    """The mean of ‖∇F‖ there."""
    steps, true = Affine.of(_quotient(ONE_TASK_NU, "symmetric"), given), Affine.of(Tasks.gradients, given)
    matrix, offset = (tensor.mean(0) for tensor in true)
    w = torch.zeros(DIMENSION, dtype=torch.float64)
    slots, rate, points = outer.init(w), w.new_tensor(4 * length**-0.75), []
    for i in torch.randint(TASKS, (length,), generator=torch.Generator().manual_seed(6)).tolist():
        w, slots = outer.update(w, steps.matrices[i] @ w + steps.offsets[i], slots, rate)
        points.append(w)
    last = torch.stack(points[-(length // 4) :])
    return float((last @ matrix.T + offset).norm(dim=1).mean())


def _order_row(name: Difference, setting: str, nus: Sequence[float], figures: list[list[float]]) -> Row:
    """The order in ν, draw by draw."""
    orders = [slope(nus, column) for column in zip(*figures, strict=True)]
    return Row(name, setting, (Measured.over(orders),), Measured(ORDERS[name]))


def _curve(name: str, x: Sequence[float], figures: list[list[float]]) -> Curve:
    return Curve(name, list(x), [Measured.over(each).mean for each in figures])
