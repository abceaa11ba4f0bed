"""MOML in plain PyTorch, from the paper: the module called as it is, `autograd.grad` twice."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

Set = tuple[Tensor, Tensor]

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": lambda prediction, y: ((prediction - y) ** 2).mean(),
    "cross_entropy": lambda prediction, y: -prediction.log_softmax(1).gather(1, y[:, None]).mean(),
    "huber": functional.huber_loss,
    "bce": lambda prediction, y: (
        -(y * functional.logsigmoid(prediction) + (1 - y) * functional.logsigmoid(-prediction)).mean()
    ),
}


class Told(NamedTuple):
    """What is told of one event: losses before it, and ‖u' − target‖."""

    meta: float
    adapted: float
    memory: float
    tracking_error: float


@dataclass
class Plain:
    """MOML with momentum over one module."""

    module: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]
    second_order: bool
    alpha: float
    beta: float
    eta: float
    momentum: float
    memories: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.parameters = [p for p in self.module.parameters() if p.requires_grad]
        self.w = torch.cat([p.detach().reshape(-1) for p in self.parameters])
        self.velocity = torch.zeros_like(self.w)

    def value(self, at: Tensor, examples: Set) -> Tensor:
        """The loss at these parameters; its graph begins at the module's own parameters."""
        with torch.no_grad():
            for parameter, piece in zip(
                self.parameters, torch.split(at, [p.numel() for p in self.parameters]), strict=True
            ):
                parameter.copy_(piece.view_as(parameter))
        x, y = examples
        with sdpa_kernel(SDPBackend.MATH):
            return self.loss(self.module(x), y)

    def gradient(self, at: Tensor, examples: Set, along: Tensor | None = None) -> Tensor:
        """∇l(at); with `along`, ∇²l(at) · along."""
        value = self.value(at, examples)
        first = _flat(torch.autograd.grad(value, self.parameters, create_graph=True), self.parameters)
        if along is None:
            return first.detach()
        if not first.requires_grad:
            return torch.zeros_like(along)
        second = torch.autograd.grad(first @ along, self.parameters, materialize_grads=True)
        return _flat(second, self.parameters).detach()

    def step(self, events: Sequence[tuple[str, Set, Set]]) -> tuple[list[Told], float, float]:
        """One iteration: what is told of each event, ‖mean v‖, ‖w' − w‖."""
        told, directions = [], []
        for task, support, query in events:
            target = self.w - self.alpha * self.gradient(self.w, support)
            known = task in self.memories
            before = self.memories.get(task, target)
            after = (1 - self.beta) * before + self.beta * target
            told.append(
                Told(
                    self.value(self.w, query).item(),
                    self.value(target, query).item(),
                    self.value(before, query).item() if known else nan,
                    (after - target).norm().item(),
                )
            )
            self.memories[task] = after
            h = self.gradient(after, query)
            bend = self.gradient(self.w, support, h) if self.second_order else torch.zeros_like(h)
            directions.append(h - self.alpha * bend)
        v = torch.stack(directions).mean(0)
        self.velocity = self.momentum * self.velocity + v
        moved = self.eta * self.velocity
        self.w = self.w - moved
        return told, v.norm().item(), moved.norm().item()


def _flat(pieces: Sequence[Tensor], like: Sequence[Tensor]) -> Tensor:
    assert len(pieces) == len(like)
    return torch.cat([piece.reshape(-1) for piece in pieces])
