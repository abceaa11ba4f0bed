"""Second-order MAML by TorchOpt, as its documentation writes it."""

import torch
from torch.nn.functional import mse_loss

from streammeta.benchmarks.peers.problem import ALPHA, META_LR, MOMENTUM, Event, Problem
from streammeta.benchmarks.peers.torch_maml import network, tensors


def torchopt_maml(made: Problem) -> Event:
    """One differentiable inner step (`MetaSGD`), then the outer step; the network is put back after it."""
    import torchopt  # of the extra `bench`

    module = network(made)
    inner = torchopt.MetaSGD(module, lr=ALPHA)
    outer = torch.optim.SGD(module.parameters(), META_LR, momentum=MOMENTUM)
    episodes = [tensors(episode) for episode in made.episodes]

    def event(number: int) -> float:
        support, query = episodes[number]
        start = torchopt.extract_state_dict(module, by="reference"), torchopt.extract_state_dict(inner)
        inner.step(mse_loss(module(support.x), support.y))
        loss = mse_loss(module(query.x), query.y)
        outer.zero_grad()
        torch.autograd.backward(loss)
        torchopt.recover_state_dict(module, start[0])
        torchopt.recover_state_dict(inner, start[1])
        outer.step()
        return loss.item()

    return event
