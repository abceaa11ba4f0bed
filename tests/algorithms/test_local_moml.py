"""LocalMOML and Per-FedAvg: rounds, their simulation, and rounds as iterations of a stream (fact 7)."""

from functools import partial
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from streammeta.algorithms.federated import local_moml, per_fedavg
from streammeta.algorithms.local_moml import ClientData, client_round, simulate
from streammeta.algorithms.maml import maml
from streammeta.algorithms.moml import OuterScale
from streammeta.algorithms.outer import sgd
from streammeta.events import Batch, Episode
from tests.algorithms.problems import PROBLEMS, Problem, generator

F64 = torch.float64
ALPHA, ETA = 0.1, 0.05
PROBLEM = PROBLEMS["sinusoid"]


def cut(episode: Episode[Tensor], initial: int, steps: int) -> list[ClientData]:
    """The clients' data, cut by hand: the first examples, then pieces in order."""
    clients = []
    for i in range(episode.support.x.shape[0]):
        support, query = (Batch(batch.x[i], batch.y[i]) for batch in episode)
        size, asked = (len(support.x) - initial) // steps, len(query.x) // steps
        pieces = [slice(initial + h * size, initial + (h + 1) * size) for h in range(steps)]
        judged = [slice(h * asked, (h + 1) * asked) for h in range(steps)]
        clients.append(
            ClientData(
                Batch(*(t[:initial] for t in support)) if initial else None,
                Batch(*(torch.stack([t[p] for p in pieces]) for t in support)),
                Batch(*(torch.stack([t[p] for p in judged]) for t in query)),
            )
        )
    return clients


def by_hand(params: Tensor, data: ClientData, beta: float, memory: Tensor | None) -> tuple[Tensor, Tensor]:
    """A client's round by autograd: Hessian-vector products as the gradient of an inner product."""

    def gradient(at: Tensor, batch: Batch[Tensor]) -> Tensor:
        leaf = at.detach().requires_grad_()
        return torch.autograd.grad(PROBLEM.loss(leaf, *batch), leaf)[0]

    local = params
    if memory is None:
        assert data.initial
        memory = params - ALPHA * gradient(params, data.initial)
    for h in range(len(data.support.x)):
        s1 = Batch(data.support.x[h], data.support.y[h])
        memory = (1 - beta) * memory + beta * (local - ALPHA * gradient(local, s1))
        outward = gradient(memory, Batch(data.query.x[h], data.query.y[h]))
        leaf = local.detach().requires_grad_()
        (first,) = torch.autograd.grad(PROBLEM.loss(leaf, *s1), leaf, create_graph=True)
        (second,) = torch.autograd.grad(first @ outward, leaf)
        local = local - ETA * (outward - ALPHA * second)
    return local, memory


@pytest.mark.parametrize("kept", [False, True])
def test_a_client_round_follows_its_equations(kept: bool) -> None:
    """Three local steps against autograd, from S0 and from a memory of an earlier round."""
    draws = generator(1)
    params = PROBLEM.start(draws)
    (data,) = cut(larger(draws, 1), initial=2, steps=3)
    memory = PROBLEM.start(draws) if kept else None
    found = client_round(PROBLEM.loss, params, memory, data, inner_lr=ALPHA, local_lr=ETA, beta=0.3)
    local, after = by_hand(params, data, 0.3, memory)
    assert (local - params).norm() > 1e-2
    torch.testing.assert_close(found.params, local, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found.memory, after, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found.total, (params - local) / ETA, rtol=1e-9, atol=1e-11)


def larger(draws: torch.Generator, clients: int) -> Episode[Tensor]:
    """Episodes with 8 support and 6 query examples."""
    more, less = PROBLEM.episode(draws, clients), PROBLEM.episode(draws, clients)
    joined = Batch(*(torch.cat([a, b[:, :2]], 1) for a, b in zip(more.support, less.support, strict=True)))
    return Episode(joined, more.query)


def test_one_local_step_is_one_step_of_maml() -> None:
    """Fact 7: H = 1, β = 1 and B clients are one MAML step over B tasks, whatever S0 holds."""
    draws = generator(2)
    params, episode = PROBLEM.start(draws), larger(draws, 5)
    rest = Episode(Batch(*(t[:, 2:] for t in episode.support)), episode.query)
    reference = maml(PROBLEM.loss, sgd(), inner_lr=ALPHA, meta_lr=ETA)
    none, seen = torch.zeros(5, 0, dtype=F64), torch.ones(5, dtype=F64)
    expected, _, _ = reference.update(reference.init(params), none, seen, rest)
    client = partial(client_round, PROBLEM.loss, inner_lr=ALPHA, local_lr=ETA, beta=1.0)
    clients = {str(i): data for i, data in enumerate(cut(episode, initial=2, steps=1))}
    (after,) = simulate(client, params, [clients])
    torch.testing.assert_close(after.params, expected.params, rtol=1e-12, atol=1e-14)
    fedavg = per_fedavg(PROBLEM.loss, sgd(), inner_lr=ALPHA, meta_lr=ETA, local_steps=1)
    learned, _, _ = fedavg.update(fedavg.init(params), none, seen, rest)
    assert torch.equal(learned.params, expected.params)
    assert (expected.params - params).norm() > 1e-2


def test_the_order_of_clients_does_not_matter() -> None:
    """Fact 7: the next w is that of any order, but for the last bits of a mean."""
    draws = generator(3)
    params = PROBLEM.start(draws)
    clients = dict(enumerate(cut(larger(draws, 5), initial=2, steps=3)))
    client = partial(client_round, PROBLEM.loss, inner_lr=ALPHA, local_lr=ETA, beta=0.3)
    ends = []
    for order in ([0, 1, 2, 3, 4], [4, 2, 0, 1, 3]):
        (after,) = simulate(client, params, [{str(i): clients[i] for i in order}])
        ends.append(after.params)
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-13, atol=1e-14)
    assert (ends[0] - params).norm() > 1e-2


@pytest.mark.parametrize("keep_memory", [False, True])
def test_iterations_of_a_stream_are_the_rounds_of_the_simulation(keep_memory: bool) -> None:
    """With plain SGD the learner's w after each round is the server's, cross-device and cross-silo.

    Each round has other clients; some come back, and only across silos is what they kept used.
    """
    draws = generator(4)
    params = PROBLEM.start(draws)
    given: Any = {"beta": 0.3}
    learner = local_moml(
        PROBLEM.loss,
        sgd(),
        dimension=25,
        inner_lr=ALPHA,
        meta_lr=ETA,
        local_steps=3,
        initial_examples=2,
        keep_memory=keep_memory,
        **given,
    )
    chosen = [[0, 1, 2], [1, 3, 0], [4, 0, 2], [2, 3, 4]]
    episodes = [larger(draws, 3) for _ in chosen]
    rounds = [
        {str(i): data for i, data in zip(names, cut(episode, 2, 3), strict=True)}
        for names, episode in zip(chosen, episodes, strict=True)
    ]
    client = partial(client_round, PROBLEM.loss, inner_lr=ALPHA, local_lr=ETA, **given)
    expected = list(simulate(client, params, rounds, keep_memory=keep_memory))
    state = learner.init(params)
    rows, seen = torch.full((5, learner.memory_size), 3.0, dtype=F64), torch.zeros(5, dtype=F64)
    for names, episode, after in zip(chosen, episodes, expected, strict=True):
        state, moved, info = learner.update(state, rows[names], seen[names], episode)
        assert torch.equal(info.loss_memory.isnan(), (seen[names] == 0) | (not keep_memory))
        rows[names], seen[names] = moved, 1.0
        torch.testing.assert_close(state.params, after.params, rtol=1e-11, atol=1e-13)
    assert bool(expected[-1].memories) == keep_memory
    for name, memory in expected[-1].memories.items():
        torch.testing.assert_close(rows[int(name)], memory, rtol=1e-11, atol=1e-13)
    assert (state.params - params).norm() > 1e-2


def test_kept_memories_change_what_is_learned() -> None:
    """Cross-silo and cross-device differ from the second round on."""
    draws = generator(5)
    params = PROBLEM.start(draws)
    client = partial(client_round, PROBLEM.loss, inner_lr=ALPHA, local_lr=ETA, beta=0.3)
    rounds = [{"a": data} for data in (cut(larger(draws, 1), 2, 3)[0] for _ in range(2))]
    device, silo = (list(simulate(client, params, rounds, keep_memory=keep)) for keep in (False, True))
    assert torch.equal(device[0].params, silo[0].params)
    assert (device[1].params - silo[1].params).norm() > 1e-4


def problem_learner(problem: Problem, **settings: Any) -> Any:
    """LocalMOML with K0 = 2 and H = 3 unless told."""
    given: Any = {"beta": 0.3, "local_steps": 3, "initial_examples": 2} | settings
    return local_moml(problem.loss, sgd(), dimension=problem.dimension, inner_lr=ALPHA, meta_lr=ETA, **given)


@pytest.mark.parametrize(
    ("support", "query", "message"),
    [
        (
            7,
            6,
            "initial_examples = 2, has 5 examples, which 3 steps cannot share equally; send a multiple of 3",
        ),
        (2, 6, "initial_examples = 2, has 0 examples"),
        (1, 6, "initial_examples = 2, has 0 examples"),
        (8, 4, "a query set has 4 examples, which 3 steps cannot share equally; send a multiple of 3"),
    ],
)
def test_sets_that_cannot_be_cut_are_refused(support: int, query: int, message: str) -> None:
    """The message names the setting, the set and the sizes that can be cut."""
    draws = generator(6)
    learner, episode = problem_learner(PROBLEM), larger(draws, 1)
    sets = [Batch(*(t[:, :n] for t in b)) for b, n in zip(episode, (support, query), strict=True)]
    state = learner.init(PROBLEM.start(draws))
    with pytest.raises(ValueError, match=r"algorithm\.local_steps = 3: ") as caught:
        learner.update(state, torch.zeros(1, 0, dtype=F64), torch.zeros(1, dtype=F64), Episode(*sets))
    assert message in str(caught.value)


def test_settings_out_of_range_are_refused() -> None:
    """The message names the argument and its value."""
    with pytest.raises(ValueError, match="local_steps must be at least 1, got 0"):
        problem_learner(PROBLEM, local_steps=0)
    with pytest.raises(ValueError, match="initial_examples must be at least 1 to begin a memory, got 0"):
        problem_learner(PROBLEM, initial_examples=0)
    with pytest.raises(ValueError, match=r"beta must be in \(0, 1\], got 2"):
        problem_learner(PROBLEM, beta=2)


def test_outer_scale_multiplies_by_the_memory_rate() -> None:
    """outer_scale = "beta": with one step, the move of w times β."""
    draws = generator(7)
    params = PROBLEM.start(draws)
    (data,) = cut(larger(draws, 1), initial=2, steps=1)
    plain, scaled = (
        client_round(
            PROBLEM.loss, params, None, data, inner_lr=ALPHA, local_lr=ETA, beta=0.3, outer_scale=scale
        )
        for scale in get_args(OuterScale)
    )
    assert plain.total.norm() > 1e-2
    torch.testing.assert_close(scaled.total, 0.3 * plain.total, rtol=1e-12, atol=1e-14)
