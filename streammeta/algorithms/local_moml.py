"""LocalMOML and Per-FedAvg: clients that hold their data take several steps of MOML; a server averages.

`client_round` and `average` are one round; `simulate` runs rounds in this process. `federated.py` makes a
round of an iteration on a stream.
Source: LocalMOML: Wang, Yuan, Ying, Yang, JMLR 24(145) 2023, arXiv:2106.04911, and its public code.
Per-FedAvg: Fallah, Mokhtari, Ozdaglar, NeurIPS 2020, arXiv:2002.07948. [recalled]
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import grad

from streammeta.algorithms.base import Loss
from streammeta.algorithms.moml import OuterScale
from streammeta.algorithms.steps import HessianSet, Order, curb, inner_gradient
from streammeta.events import Batch


class ClientData(NamedTuple):
    """What a client learns from in one round of H local steps.

    Attributes:
        initial: S0, K0 examples that begin the memory; None where it is kept or not used.
        support, query: S1 (and S2) and S3 of every local step, with a leading axis H.
    """

    initial: Batch[Tensor] | None
    support: Batch[Tensor]
    query: Batch[Tensor]


class ClientResult(NamedTuple):
    """What a client has after its local steps.

    Attributes:
        params: w_i (d,), which it returns to the server.
        memory: u_i (d,), which it keeps across silos and forgets across devices.
        total: Σ_h v_i of its steps (d,): (w − w_i)/η without the rounding of that difference.
    """

    params: Tensor
    memory: Tensor
    total: Tensor


def client_round(
    loss: Loss,
    params: Tensor,
    memory: Tensor | None,
    data: ClientData,
    *,
    inner_lr: float | Tensor,
    local_lr: float | Tensor,
    beta: float,
    order: Order = "second",
    hessian_set: HessianSet = "support",
    outer_scale: OuterScale = "none",
    inner_clip_norm: float | None = None,
) -> ClientResult:
    """H local steps of one client, from the server's w.

        w_i ← w;  u_i ← memory, or w − α∇l(w;S0)
        H times:  u_i ← (1−β) u_i + β (w_i − α∇l(w_i;S1)),  w_i ← w_i − η (I − α∇²l(w_i;S2)) ∇l(u_i;S3)

    Args:
        loss: Mean loss of the client's data; twice differentiable for second order.
        params: w (d,).
        memory: u_i (d,) of the client's last round (cross-silo), or None (cross-device, and first rounds).
        data: Its examples.
        inner_lr: α.
        local_lr: η.
        beta: Weight of the new value in the memory, in (0, 1]; 1 is Per-FedAvg, which needs no S0.
        order: As for `moml`.
        hessian_set: As for `moml`, within the support examples of a step.
        outer_scale: As for `moml`.
        inner_clip_norm: As for `moml`, of the inner steps from w and w_i; the steps of η are not clipped.

    Returns:
        w_i, u_i and the sum of the steps' directions. Costs 2H (+ 1 with S0) gradients and H Hessian-vector
        products (none in first order).
    """
    inner, clip = inner_gradient(loss, order, hessian_set, inner_clip_norm), curb(inner_clip_norm)
    alpha = torch.as_tensor(inner_lr, dtype=params.dtype, device=params.device)
    if memory is None:
        first = None if data.initial is None else clip(grad(loss)(params, *data.initial))[0]
        memory = params if first is None else params - alpha * first
    local, total = params, torch.zeros_like(params)
    for h in range(data.support.x.shape[0]):
        gradient, pull_back = inner(local, alpha, Batch(data.support.x[h], data.support.y[h]))
        memory = torch.lerp(memory, local - alpha * gradient, beta)
        direction = pull_back(grad(loss)(memory, data.query.x[h], data.query.y[h]))
        if outer_scale == "beta":
            direction = direction * beta
        local, total = local - local_lr * direction, total + direction
    return ClientResult(local, memory, total)


def average(clients: Tensor) -> Tensor:
    """The server's next w (d,) from the w_i that B clients returned, shape (B, d): their mean.

    >>> average(torch.tensor([[1.0, 2.0], [3.0, 6.0]]))
    tensor([2., 4.])
    """
    return clients.mean(0)


class Round(NamedTuple):
    """Where a simulation stands after a round: the server's w, and every client's kept u_i."""

    params: Tensor
    memories: Mapping[str, Tensor]


def simulate(
    client: Callable[[Tensor, Tensor | None, ClientData], ClientResult],
    params: Tensor,
    rounds: Iterable[Mapping[str, ClientData]],
    *,
    keep_memory: bool = False,
) -> Iterator[Round]:
    """Run rounds in this process, and tell where each one ends.

    Args:
        client: `client_round` with its loss and settings filled in: (w, memory, data) -> result.
        params: w before the first round.
        rounds: The data of the clients chosen for each round, by client: a sample of them (cross-device) or
            all (cross-silo). Only w travels.
        keep_memory: Clients keep u_i across rounds (cross-silo); otherwise each round begins it anew.

    Example:
        >>> from functools import partial
        >>> half_square = lambda w, x, y: (0.5 * (w - x) ** 2).mean()
        >>> at = lambda value: Batch(torch.full((1, 1, 1), value), torch.zeros(1, 1, 1))
        >>> fedavg = partial(client_round, half_square, inner_lr=0.5, local_lr=0.1, beta=1.0)
        >>> data = {"a": ClientData(None, at(0.0), at(-2.0)), "b": ClientData(None, at(0.0), at(0.0))}
        >>> [after.params for after in simulate(fedavg, torch.tensor([2.0]), [data])]
        [tensor([1.9000])]
    """
    memories: dict[str, Tensor] = {}
    for chosen in rounds:
        results = {name: client(params, memories.get(name), data) for name, data in chosen.items()}
        params = average(torch.stack([result.params for result in results.values()]))
        if keep_memory:
            memories = memories | {name: result.memory for name, result in results.items()}
        yield Round(params, memories)
