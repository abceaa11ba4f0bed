"""In plain PyTorch: second-order MAML by `torch.autograd`, and one SGD step of the same network."""

import torch
from torch import Tensor
from torch.nn.functional import linear, mse_loss, relu

from streammeta.benchmarks.peers.problem import ALPHA, META_LR, MOMENTUM, Event, Problem, split
from streammeta.events import Array, Batch, Episode
from streammeta.models import mlp


def tensors(episode: Episode[Array]) -> Episode[Tensor]:
    """The episode as tensors that share its memory."""
    return Episode(*(Batch(torch.from_numpy(x), torch.from_numpy(y)) for x, y in episode))


def network(made: Problem) -> torch.nn.Module:
    """The MLP at the problem's first parameters."""
    module = mlp()
    with torch.no_grad():
        for parameter, value in zip(module.parameters(), split(made.initial), strict=True):
            parameter.copy_(torch.from_numpy(value.copy()))
    return module


def autograd_maml(made: Problem) -> Event:
    """MAML with one inner step, differentiated through; heavy ball outside."""
    params = [torch.from_numpy(piece.copy()).requires_grad_() for piece in split(made.initial)]
    optimiser = torch.optim.SGD(params, META_LR, momentum=MOMENTUM)

    def event(number: int) -> float:
        support, query = tensors(made.episodes[number])
        gradients = torch.autograd.grad(_loss(params, support), params, create_graph=True)
        adapted = [w - ALPHA * g for w, g in zip(params, gradients, strict=True)]
        loss = _loss(adapted, query)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        return loss.item()

    return event


def sgd_step(made: Problem) -> Event:
    """One step of plain training on the query set: no meta-learning at all."""
    module = network(made)
    optimiser = torch.optim.SGD(module.parameters(), META_LR, momentum=MOMENTUM)

    def event(number: int) -> float:
        x, y = tensors(made.episodes[number]).query
        loss = mse_loss(module(x), y)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        return loss.item()

    return event


def _loss(params: list[Tensor], batch: Batch[Tensor]) -> Tensor:
    w1, b1, w2, b2, w3, b3 = params
    hidden = relu(linear(relu(linear(batch.x, w1, b1)), w2, b2))
    return mse_loss(linear(hidden, w3, b3), batch.y)
