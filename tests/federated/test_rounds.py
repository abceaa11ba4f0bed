"""Rounds over Flower's messages are the rounds of the algorithm: same parameters, same memories."""

from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from torch import Tensor

from streammeta.algorithms.federated import cut
from streammeta.algorithms.local_moml import ClientData, client_round, simulate
from streammeta.algorithms.maml import maml
from streammeta.algorithms.outer import sgd
from streammeta.events import Batch, Episode
from streammeta.federated.clients import Waves
from streammeta.federated.draws import drawn
from streammeta.federated.memory import file_of, recalled
from streammeta.federated.plan import Plan
from streammeta.federated.server import state_of
from streammeta.federated.settings import blueprint_of, document_of

pytest.importorskip("flwr", reason="flwr is not installed: pip install 'streammeta[federated]'")

from tests.federated.here import raised, vanished
from tests.federated.runs import plan_of, run, state_in


def episode_of(plan: Plan, place: int, number: int) -> Episode[Tensor]:
    """What the client at this place learns from, as tensors."""
    network = blueprint_of(document_of(plan.config())).network
    return network.tensors(Waves(plan.clients, plan.cuts, plan.seed).client(place).learn(number))


def data_of(plan: Plan, place: int, number: int) -> ClientData:
    """The same, cut for the reference."""
    return cut(episode_of(plan, place, number), plan.local_steps, plan.cuts.initial)


def by_hand(plan: Plan, rounds: list[list[int]]) -> tuple[Tensor, dict[str, Tensor]]:
    """The algorithm's own loop over these places, round by round: the last w, and every kept memory."""
    network = blueprint_of(document_of(plan.config())).network
    config = plan.config()
    client = partial(
        client_round,
        network.loss,
        inner_lr=config.algorithm.inner_lr,
        local_lr=config.outer.lr,
        beta=plan.beta,
    )
    data = [
        {f"sinewave/{place}": data_of(plan, place, number) for place in places}
        for number, places in enumerate(rounds)
    ]
    *_, last = simulate(client, network.initial, data, keep_memory=plan.silo)
    assert (last.params - network.initial).norm() > 1e-2
    return last.params, {**last.memories}


@pytest.mark.parametrize("beta", [0.3, 1.0])
@pytest.mark.parametrize("silo", [False, True])
def test_rounds_are_those_of_the_algorithm(tmp_path: Path, beta: float, silo: bool) -> None:
    """All clients, three rounds, second order: w of the algorithm's own loop, cross-device and cross-silo."""
    plan = plan_of(tmp_path, beta=beta, silo=silo)
    report, grid = run(plan)
    expected, memories = by_hand(plan, [[0, 1, 2, 3]] * 3)
    torch.testing.assert_close(state_in(tmp_path).state.params, expected, rtol=1e-9, atol=1e-11)
    assert (report.rounds, report.answered, report.dropped) == (3, 12, {})
    keeps = silo and beta < 1
    for place, context in enumerate(grid.contexts.values()):
        kept = recalled(context, 3)
        assert (kept is not None) == keeps
        if kept is not None:
            torch.testing.assert_close(kept, memories[f"sinewave/{place}"], rtol=1e-9, atol=1e-11)


def test_one_local_step_at_beta_one_is_one_step_of_maml(tmp_path: Path) -> None:
    """H = 1, β = 1: Per-FedAvg's round is w − η · mean of (I − α∇²l) ∇l(w − α∇l), by the MAML learner."""
    plan = plan_of(tmp_path, beta=1.0, local_steps=1, rounds=1)
    run(plan)
    network, config = blueprint_of(document_of(plan.config())).network, plan.config()
    reference = maml(network.loss, sgd(), inner_lr=config.algorithm.inner_lr, meta_lr=config.outer.lr)
    episodes = [episode_of(plan, place, 0) for place in range(4)]
    together = Episode(
        *(
            Batch(*(torch.stack(arrays) for arrays in zip(*sets, strict=True)))
            for sets in zip(*episodes, strict=True)
        )
    )
    none, seen = network.initial.new_zeros(4, 0), network.initial.new_ones(4)
    after, _, _ = reference.update(reference.init(network.initial), none, seen, together)
    found = state_in(tmp_path).state.params
    torch.testing.assert_close(found, after.params, rtol=1e-9, atol=1e-11)
    assert (found - network.initial).norm() > 1e-2


def test_a_sample_of_the_clients_is_drawn_for_each_round(tmp_path: Path) -> None:
    """Half of them a round, by the seed and the round; w is that of the loop over just those."""
    plan = plan_of(tmp_path, fraction=0.5, rounds=4)
    _, grid = run(plan)
    names = [f"sinewave/{place}" for place in range(4)]
    rounds = [[int(name[-1]) for name in drawn(names, 0.5, 0, number)] for number in range(4)]
    assert len({*map(tuple, rounds)}) > 1
    asked: dict[int, list[int]] = {}
    for number, place, _ in grid.learned():
        asked.setdefault(number, []).append(place)
    assert [sorted(asked[number]) for number in range(4)] == rounds
    expected, _ = by_hand(plan, rounds)
    torch.testing.assert_close(state_in(tmp_path).state.params, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("fault", "outcome"), [(raised, "failed"), (vanished, "vanished")])
def test_a_client_that_drops_out_stops_nobody(tmp_path: Path, fault: object, outcome: str) -> None:
    """Client 2 drops out of round 1: the mean of that round is over the three others, and it comes back."""
    plan = plan_of(tmp_path, silo=True, beta=0.3)
    report, _ = run(plan, faults={(2, 1): fault})  # type: ignore[dict-item]  # a fault
    expected, _ = by_hand(plan, [[0, 1, 2, 3], [0, 1, 3], [0, 1, 2, 3]])
    torch.testing.assert_close(state_in(tmp_path).state.params, expected, rtol=1e-9, atol=1e-11)
    assert (report.rounds, report.answered, report.dropped) == (3, 11, {outcome: 1})


def test_a_round_that_nobody_answers_leaves_the_parameters(tmp_path: Path) -> None:
    """All vanish in round 0: it ends at its deadline, w stays, and the next rounds go on."""
    plan = plan_of(tmp_path, rounds=1)
    report, _ = run(plan, faults={(place, 0): vanished for place in range(4)})
    assert (report.rounds, report.answered, report.dropped) == (1, 0, {"vanished": 4})
    network = blueprint_of(document_of(plan.config())).network
    assert torch.equal(state_in(tmp_path).state.params, network.initial)


def test_memories_outlive_the_clients_process(tmp_path: Path) -> None:
    """Two rounds, all clients started anew, two more: the memories and w of four rounds without a break."""
    whole, cut_in_two = tmp_path / "whole", tmp_path / "cut"
    run(plan_of(whole, silo=True, rounds=4))
    for rounds in (2, 4):
        run(plan_of(cut_in_two, silo=True, rounds=rounds))
    one, other = (state_in(path) for path in (whole, cut_in_two))
    assert torch.equal(one.state.params, other.state.params)
    assert (one.progress, one.positions) == (other.progress, other.positions)
    for place in range(4):
        files = [file_of(state_of(path), f"sinewave/{place}") for path in (whole, cut_in_two)]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_a_round_under_way_is_made_again(tmp_path: Path) -> None:
    """The server dies after its clients moved their memories, before its commit: the same rounds again."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(plan_of(whole, silo=True, rounds=3))
    plan = plan_of(broken, silo=True, rounds=3)
    run(plan_of(broken, silo=True, rounds=1))

    def dies(_: object) -> NoReturn:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):  # client 3 is the last one asked: the others have learned
        run(plan, faults={(3, 1): dies})
    assert state_in(broken).positions == {0: 1}
    run(plan)
    assert torch.equal(state_in(whole).state.params, state_in(broken).state.params)
