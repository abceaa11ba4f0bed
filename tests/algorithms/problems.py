"""Problems with known answers, in float64: a loss, parameters, and episodes of random tasks."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from streammeta.algorithms.base import Loss
from streammeta.events import Batch, Episode

Draw = Callable[[torch.Generator], Batch[Tensor]]


def quadratic(params: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Mean of ½ (w − y)ᵀ diag(x) (w − y): example curvatures x (n, d), centres y (n, d)."""
    return (0.5 * x * (params - y) ** 2).sum(-1).mean()


def sinusoid(params: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Squared error of a tanh network 1-8-1 with 25 parameters."""
    hidden = torch.tanh(x * params[:8] + params[8:16])
    return ((hidden @ params[16:24] + params[24] - y.squeeze(-1)) ** 2).mean()


def logistic(params: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of a logistic regression without intercept, labels 0 or 1."""
    return functional.binary_cross_entropy_with_logits(x @ params, y)


@dataclass(frozen=True)
class Problem:
    """A loss of d parameters, and how a task draws examples."""

    loss: Loss
    dimension: int
    draw: Draw

    def start(self, generator: torch.Generator) -> Tensor:
        """Parameters away from any symmetric point."""
        return 0.5 * torch.randn(self.dimension, generator=generator, dtype=torch.float64)

    def episode(self, generator: torch.Generator, tasks: int = 1) -> Episode[Tensor]:
        """Independent support and query sets of `tasks` tasks, with a leading task axis."""
        sets = [[self.draw(generator) for _ in range(tasks)] for _ in range(2)]
        return Episode(*(Batch(torch.stack([b.x for b in s]), torch.stack([b.y for b in s])) for s in sets))


def _draw_quadratic(generator: torch.Generator) -> Batch[Tensor]:
    x = 0.5 + torch.rand(6, 5, generator=generator, dtype=torch.float64)
    return Batch(x, torch.randn(6, 5, generator=generator, dtype=torch.float64))


def _draw_sinusoid(generator: torch.Generator) -> Batch[Tensor]:
    x = 10 * torch.rand(6, 1, generator=generator, dtype=torch.float64) - 5
    return Batch(x, 2 * torch.sin(x + 1))


def _draw_logistic(generator: torch.Generator) -> Batch[Tensor]:
    x = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    return Batch(x, (x[:, 0] - x[:, 1] > 0).double())


PROBLEMS = {
    "quadratic": Problem(quadratic, 5, _draw_quadratic),
    "sinusoid": Problem(sinusoid, 25, _draw_sinusoid),
    "logistic": Problem(logistic, 4, _draw_logistic),
}


def generator(seed: int) -> torch.Generator:
    """A seeded source of random numbers."""
    return torch.Generator().manual_seed(seed)


def central_difference(function: Callable[[Tensor], Tensor], at: Tensor, step: float = 1e-5) -> Tensor:
    """The gradient of a scalar function by central differences, error O(step²)."""
    basis = torch.eye(at.numel(), dtype=at.dtype) * step
    return torch.stack([(function(at + e) - function(at - e)) / (2 * step) for e in basis])
