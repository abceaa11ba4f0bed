"""Second-order MAML by TorchOpt, as its documentation writes it."""

import torch
from torch.nn.functional import mse_loss

from streammeta.benchmarks.peers.problem import ALPHA, META_LR, MOMENTUM, Problem
from streammeta.benchmarks.peers.torch_maml import network, tensors
from streammeta.events import Array


class TorchoptMaml:
    """One differentiable inner step (`MetaSGD`), then the outer step; the network is put back after it."""

    def __init__(self, made: Problem) -> None:
        import torchopt  # of the extra `bench`

        self._made = made
        self._torchopt = torchopt
        self._module = network(made)
        self._inner = torchopt.MetaSGD(self._module, lr=ALPHA)
        self._outer = torch.optim.SGD(self._module.parameters(), META_LR, momentum=MOMENTUM)

    def __call__(self, number: int) -> float:
        """Learn from an event; its query loss after adaptation."""
        (support, query), module = tensors(self._made.episodes[number]), self._module
        start = self._torchopt.extract_state_dict(module, by="reference")
        inner = self._torchopt.extract_state_dict(self._inner)
        self._inner.step(mse_loss(module(support.x), support.y))
        loss = mse_loss(module(query.x), query.y)
        self._outer.zero_grad()
        torch.autograd.backward(loss)
        self._torchopt.recover_state_dict(module, start)
        self._torchopt.recover_state_dict(self._inner, inner)
        self._outer.step()
        return loss.item()

    def state(self) -> dict[str, Array]:
        """What a restart needs."""
        return {name: value.numpy() for name, value in self._module.state_dict().items()}
