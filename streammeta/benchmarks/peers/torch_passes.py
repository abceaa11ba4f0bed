"""The passes that one second-order MOML event cannot do without, in eager torch, for any network: no learner.

Losses before it is learned from, the gradient on the support set, the gradient of the query set at the
memory, one Hessian-vector product. Nothing is kept, moved, checked or reported.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.func import functional_call

from streammeta.benchmarks.peers.problem import ALPHA
from streammeta.events import Batch, Episode

Loss = Callable[[Tensor, Tensor], Tensor]


def bare_passes(module: torch.nn.Module, loss_of: Loss, episode: Episode[Tensor]) -> Tensor:
    """The direction of the meta-update; the module serves as meta-parameters and as memory."""
    params = [*module.parameters()]

    def loss(values: Sequence[Tensor], batch: Batch[Tensor]) -> Tensor:
        named = dict(zip(dict(module.named_parameters()), values, strict=True))
        return loss_of(functional_call(module, named, (batch.x,)), batch.y)

    support, query = episode
    gradients = torch.autograd.grad(loss(params, support), params, create_graph=True)
    with torch.no_grad():
        adapted = [w - ALPHA * g for w, g in zip(params, gradients, strict=True)]
        loss(params, query)
        loss(adapted, query)
        # The memory's loss before it moved; after it moved, its gradient below has a forward pass of its own.
        loss(params, query)
    at_memory = torch.autograd.grad(loss(params, query), params)
    curved = torch.autograd.grad(gradients, params, at_memory)
    flat = [h - ALPHA * c for h, c in zip(at_memory, curved, strict=True)]
    return torch.cat([piece.flatten() for piece in flat])
