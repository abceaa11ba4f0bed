"""Quadratic tasks ĝ = ½(φ−a)ᵀA(φ−a), f = ½(φ−b)ᵀB(φ−b): the proximal problem in closed form."""

from dataclasses import dataclass

import torch
from torch import Tensor

from streammeta.algorithms.fo_b_maml import Difference
from streammeta.events import Batch, Episode

LAMBDA = 1.0


def loss(params: Tensor, matrix: Tensor, centre: Tensor) -> Tensor:
    """½(φ−c)ᵀM(φ−c): M (d, d) and c (d,) are the task's data."""
    return 0.5 * (params - centre) @ matrix @ (params - centre)


@dataclass(frozen=True)
class Tasks:
    """n tasks: A, B (n, d, d) and a, b (n, d)."""

    support: Tensor
    query: Tensor
    a: Tensor
    b: Tensor

    @property
    def episode(self) -> Episode[Tensor]:
        """All tasks as one episode."""
        return Episode(Batch(self.support, self.a), Batch(self.query, self.b))

    def solution(self, w: Tensor, s: float = 0.0) -> Tensor:
        """φ_{i,s}(w), shape (n, d)."""
        right = torch.einsum("nij,nj->ni", self.support, self.a) + LAMBDA * w
        right = right + s * torch.einsum("nij,nj->ni", self.query, self.b)
        solution: Tensor = torch.linalg.solve(self.system(s), right)
        return solution

    def system(self, s: float = 0.0) -> Tensor:
        """The matrices A + λI + sB, shape (n, d, d)."""
        proximal = LAMBDA * torch.eye(self.a.shape[1], dtype=self.a.dtype)
        return self.support + proximal + s * self.query

    def query_gradient(self, points: Tensor) -> Tensor:
        """∇f_i at points (n, d)."""
        return torch.einsum("nij,nj->ni", self.query, points - self.b)

    def gradients(self, w: Tensor) -> Tensor:
        """∇F_i(w), shape (n, d)."""
        solved: Tensor = torch.linalg.solve(self.system(), self.query_gradient(self.solution(w)))
        return solved * LAMBDA

    def directions(self, w: Tensor, nu: float, difference: Difference) -> Tensor:
        """What FO-B-MAML's difference quotient is, exactly, at every ν: (n, d).

        Forward λ(A+λI+νB)⁻¹∇f(φ_0); symmetric the mean of that over ±ν.
        """
        gradient = self.query_gradient(self.solution(w))
        signs = [nu] if difference == "forward" else [nu, -nu]
        terms = [LAMBDA * torch.linalg.solve(self.system(s), gradient) for s in signs]
        return torch.stack(terms).mean(0)


def tasks(count: int, dimension: int = 5, seed: int = 1) -> Tasks:
    """Random tasks, curvatures of A in [0.2, 2.2] and of B in [0.1, 3.1]."""
    draws = torch.Generator().manual_seed(seed)

    def matrices(low: float, spread: float) -> Tensor:
        square = torch.randn(count, dimension, dimension, generator=draws, dtype=torch.float64)
        basis: Tensor = torch.linalg.qr(square).Q
        values = low + spread * torch.rand(count, dimension, generator=draws, dtype=torch.float64)
        return basis @ torch.diag_embed(values) @ basis.mT

    centres = torch.randn(2, count, dimension, generator=draws, dtype=torch.float64)
    return Tasks(matrices(0.2, 2.0), matrices(0.1, 3.0), *centres)
