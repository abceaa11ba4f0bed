"""LocalMOML and Per-FedAvg as learners of a stream: an iteration of B events is one round of B clients."""

import torch
from torch import Tensor
from torch.func import grad

from streammeta.algorithms.base import Info, Loss, MetaLearner, State, per_task
from streammeta.algorithms.local_moml import ClientData, average, client_round
from streammeta.algorithms.moml import OuterScale, Visit, check_beta, info_of, own_memory
from streammeta.algorithms.outer import Outer
from streammeta.algorithms.steps import HessianSet, Order, adapt, curb, first_state, outer_step
from streammeta.events import Batch, Episode


def local_moml(
    loss: Loss,
    outer: Outer,
    *,
    dimension: int,
    inner_lr: float,
    meta_lr: float,
    beta: float,
    local_steps: int,
    initial_examples: int,
    keep_memory: bool = False,
    order: Order = "second",
    hessian_set: HessianSet = "support",
    outer_scale: OuterScale = "none",
    inner_clip_norm: float | None = None,
) -> MetaLearner:
    """LocalMOML on a stream: an iteration of B events is one round of B clients.

    An event holds its client's data of the round: the first K0 examples of the support set are S0, the others
    are cut into H equal pieces, S1 and S2 of the local steps; the query set is cut into H equal pieces, S3.
    Clients step by η = `meta_lr`, which a schedule of `outer` leaves as it is. The server hands `outer` the
    direction (w − mean_i w_i)/η, that is mean_i Σ_h v_i, so that SGD without momentum gives w ← mean_i w_i;
    other outer optimisers take it as their gradient.

    Args:
        loss: As for `client_round`.
        outer: The server's optimiser.
        dimension: d.
        inner_lr: α >= 0.
        meta_lr: η >= 0, of the clients and of `outer`.
        beta: As for `client_round`.
        local_steps: H >= 1.
        initial_examples: K0 >= 1 (0 with β = 1, where S0 has no effect).
        keep_memory: u_i survives the round (cross-silo): S0 then serves first visits alone.
        order: As for `moml`.
        hessian_set: As for `moml`.
        outer_scale: As for `moml`.
        inner_clip_norm: As for `client_round`.

    Returns:
        A learner with d numbers of memory per task, or none unless `keep_memory`. An update costs, per task,
        a round and one gradient for `loss_adapted`, measured after one step on the whole support set.

    Raises:
        ValueError: a setting is out of range; in `update`, a set cannot be cut so.
    """
    check_beta(beta)
    if local_steps < 1:
        raise ValueError(f"local_steps must be at least 1, got {local_steps}")
    if initial_examples < 0 or (initial_examples == 0 and beta < 1):
        raise ValueError(f"initial_examples must be at least 1 to begin a memory, got {initial_examples}")
    adapted, clip = adapt(loss, clip_norm=inner_clip_norm), curb(inner_clip_norm)

    def client(state: State, memory: Tensor, seen: Tensor, episode: Episode[Tensor]) -> Visit:
        params, alpha = state.params, state.inner_lr
        data = cut(episode, local_steps, initial_examples)
        start = params - alpha * clip(grad(loss)(params, *data.initial))[0] if data.initial else params
        if keep_memory:
            start = torch.where(seen > 0, memory, start)
        result = client_round(
            loss,
            params,
            start,
            data,
            inner_lr=alpha,
            local_lr=state.meta_lr,
            beta=beta,
            order=order,
            hessian_set=hessian_set,
            outer_scale=outer_scale,
            inner_clip_norm=inner_clip_norm,
        )
        at_meta, target = loss(params, *episode.query), adapted(state, episode.support)
        unknown = torch.full_like(at_meta, torch.nan)
        return Visit(
            memory=result.memory if keep_memory else memory,
            direction=result.total,
            loss_meta=at_meta,
            loss_adapted=loss(target, *episode.query),
            loss_memory=torch.where(seen > 0, loss(memory, *episode.query), unknown)
            if keep_memory
            else unknown,
            tracking_error=torch.linalg.vector_norm(result.memory - target) if keep_memory else unknown,
        )

    def update(
        state: State, memory: Tensor, seen: Tensor, episode: Episode[Tensor]
    ) -> tuple[State, Tensor, Info]:
        clients = Visit(*per_task(lambda *one: client(state, *one))(memory, seen, episode))
        after, gradient_norm, update_norm = outer_step(outer, state, average(clients.direction))
        return after, clients.memory, info_of(clients, gradient_norm, update_norm)

    init = first_state(outer, inner_lr, meta_lr)
    if keep_memory:
        return MetaLearner(init, update, adapted, dimension, own_memory)
    return MetaLearner(init, update, adapted, memory_size=0)


def per_fedavg(
    loss: Loss,
    outer: Outer,
    *,
    inner_lr: float,
    meta_lr: float,
    local_steps: int,
    order: Order = "second",
    hessian_set: HessianSet = "support",
    inner_clip_norm: float | None = None,
) -> MetaLearner:
    """Per-FedAvg on a stream: LocalMOML with β = 1, hence without memory and without S0.

    Arguments, cost and errors as for `local_moml`.
    """
    return local_moml(
        loss,
        outer,
        dimension=0,
        inner_lr=inner_lr,
        meta_lr=meta_lr,
        beta=1.0,
        local_steps=local_steps,
        initial_examples=0,
        order=order,
        hessian_set=hessian_set,
        inner_clip_norm=inner_clip_norm,
    )


def cut(episode: Episode[Tensor], local_steps: int, initial_examples: int) -> ClientData:
    """One client's episode as the data of its round: K0 examples, then H equal pieces; H pieces of the query.

    Raises:
        ValueError: the sets cannot be cut so; names the setting and the sizes that can.
    """
    support, query = episode
    initial = Batch(*(tensor[:initial_examples] for tensor in support)) if initial_examples else None
    others = Batch(*(tensor[initial_examples:] for tensor in support))
    return ClientData(
        initial,
        _pieces(others, local_steps, f"a support set, less algorithm.initial_examples = {initial_examples},"),
        _pieces(query, local_steps, "a query set"),
    )


def _pieces(batch: Batch[Tensor], count: int, what: str) -> Batch[Tensor]:
    """The examples in `count` equal pieces, along a new leading axis."""
    size = batch.x.shape[0]
    if not size or size % count:
        raise ValueError(
            f"algorithm.local_steps = {count}: {what} has {size} examples, which {count} steps cannot share "
            f"equally; send a multiple of {count}"
        )
    return Batch(*(tensor.reshape(count, -1, *tensor.shape[1:]) for tensor in batch))
