"""Conjugate gradients: exact after as many steps as dimensions, and at rest where they must be."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from streammeta.algorithms.conjugate_gradient import conjugate_gradient
from tests.algorithms.problems import generator

F64 = torch.float64
SIZE = 8


def system(seed: int = 1) -> tuple[Tensor, Tensor]:
    """A positive definite matrix with eight different eigenvalues, and a right-hand side."""
    draws = generator(seed)
    basis = torch.linalg.qr(torch.randn(SIZE, SIZE, generator=draws, dtype=F64)).Q
    matrix = basis @ torch.diag(torch.linspace(0.5, 8, SIZE, dtype=F64)) @ basis.T
    return matrix, torch.randn(SIZE, generator=draws, dtype=F64)


def test_exact_after_as_many_steps_as_dimensions() -> None:
    """Fact 4.2: q steps give the solution to rounding, one fewer does not; each lowers the error's energy."""
    matrix, target = system()
    exact = torch.linalg.solve(matrix, target)
    errors = [conjugate_gradient(lambda p: matrix @ p, target, steps=n) - exact for n in range(SIZE + 1)]
    energies = [(error @ matrix @ error).sqrt().item() for error in errors]
    assert energies[SIZE] < 1e-11
    assert energies[SIZE - 1] > 1e-4
    assert all(later < 0.99 * earlier for earlier, later in pairwise(energies))


def test_a_warm_start_is_taken_up() -> None:
    """From the solution nothing moves; from near it fewer steps do."""
    matrix, target = system(2)
    exact = torch.linalg.solve(matrix, target)
    near = exact + 1e-6 * torch.ones_like(exact)
    cold, warm = (conjugate_gradient(lambda p: matrix @ p, target, s, steps=3) for s in (None, near))
    assert (warm - exact).norm() < 1e-5 < 1e-3 < (cold - exact).norm()
    at_rest = conjugate_gradient(lambda p: matrix @ p, target, exact, steps=3, tolerance=1e-12)
    assert torch.equal(at_rest, exact)


def test_it_rests_once_the_residual_is_small() -> None:
    """More steps change no bit after ‖r‖ <= tolerance; the residual is as small as asked for, not exact."""
    matrix, target = system(3)
    solved = [conjugate_gradient(lambda p: matrix @ p, target, steps=n, tolerance=0.3) for n in range(20)]
    residuals = [(target - matrix @ v).norm().item() for v in solved]
    stop = next(n for n, residual in enumerate(residuals) if residual <= 0.3)
    assert 1 < stop < SIZE
    assert residuals[stop] > 1e-3
    assert all(torch.equal(v, solved[stop]) for v in solved[stop:])


def test_many_more_steps_than_dimensions_do_no_harm() -> None:
    """With tolerance 0 too: the residual underflows to 0 at last, and nothing divides by it."""
    matrix, target = system(4)
    v = conjugate_gradient(lambda p: matrix @ p, target, steps=200)
    torch.testing.assert_close(v, torch.linalg.solve(matrix, target), rtol=1e-12, atol=1e-12)
    nothing = conjugate_gradient(lambda p: matrix @ p, torch.zeros(SIZE, dtype=F64), steps=5)
    assert torch.equal(nothing, torch.zeros(SIZE, dtype=F64))


@pytest.mark.parametrize("curvature", [-1.0, 0.0])
def test_it_stops_where_the_matrix_is_not_positive_definite(curvature: float) -> None:
    """pᵀHp <= 0 ends it: v is what was found in the directions before."""
    matrix = torch.diag(torch.tensor([2.0, curvature], dtype=F64))
    target = torch.tensor([1.0, 0.5], dtype=F64)
    first = conjugate_gradient(lambda p: matrix @ p, target, steps=1)
    assert first.norm() > 0.1
    later = conjugate_gradient(lambda p: matrix @ p, target, steps=6)
    assert later.isfinite().all()
    assert (later - first).norm() < 1e-12
    at_once = conjugate_gradient(lambda p: -p, target, steps=4)
    assert torch.equal(at_once, torch.zeros(2, dtype=F64))
