"""The sinewave experiment: the published draws, the population of seeds, and what a short run must show."""

import math
import shutil
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from streammeta.events import Batch, Episode
from streammeta.reproduce.population import compiled
from streammeta.reproduce.sinewave import experiment as sinewave_
from streammeta.reproduce.sinewave.data import Plan, first_visits, fresh_test, published_test, training
from streammeta.reproduce.sinewave.experiment import begin, network, sinewave
from streammeta.reproduce.sinewave.methods import METHODS
from tests.reproduce.quiet import quiet


class TestPublishedDraws:
    """Numbers as the public code of the paper draws them: one legacy generator per seed, in its order."""

    def test_tasks_then_support_then_query(self) -> None:
        """An iteration draws its tasks without replacement, then K + K examples of each in turn."""
        random = np.random.RandomState(1)
        for picked, episode in training(Plan((3,), 2), seeds=2, iterations=4, look_every=100):
            tasks = random.choice(25, 3, replace=False)
            assert picked[1].tolist() == tasks.tolist()
            for b, task in enumerate(tasks):
                for batch in episode:
                    x = random.uniform(-5, 5, 2)
                    np.testing.assert_allclose(batch.x[1, b, :, 0], x, rtol=1e-6)
                    wave = (task // 5 + 1) * np.sin(x + (task % 5 + 1) * math.pi / 5)
                    np.testing.assert_allclose(batch.y[1, b, :, 0], wave, atol=1e-5)

    def test_a_look_at_the_training_loss_moves_the_stream(self) -> None:
        """25 tasks × (100 + 100) examples are drawn between the iterations that it separates."""
        looked = [x for _, (x, _) in training(Plan((25,), 1), 1, 3, look_every=2)]
        random = np.random.RandomState(0)
        wanted = [random.uniform(-5, 5, 50), random.uniform(-5, 5, 50)]
        random.uniform(size=5000)
        wanted.append(random.uniform(-5, 5, 50))
        for batch, x in zip(looked, wanted, strict=True):
            np.testing.assert_allclose(batch.x[0, :, 0, 0], x[::2], rtol=1e-6)

    def test_a_round_has_its_first_examples_in_front(self) -> None:
        """LocalMOML: K0, then H times K + K; the inner ones are the support set."""
        plan = Plan((3,), 2, steps=5, initial=4)
        _, episode = next(training(plan, 1, 1, 10))
        random = np.random.RandomState(0)
        random.choice(25, 3, replace=False)
        x = random.uniform(-5, 5, 24)
        steps = x[4:].reshape(5, 2, 2)
        np.testing.assert_allclose(episode.support.x[0, 0, :, 0], [*x[:4], *steps[:, 0].flatten()], rtol=1e-6)
        np.testing.assert_allclose(episode.query.x[0, 0, :, 0], steps[:, 1].flatten(), rtol=1e-6)
        assert plan.cost(0) == 3 * 24

    def test_sizes_take_turns(self) -> None:
        """BSpiderBoost begins anew on ten tasks every third iteration."""
        plan = Plan((10, 3, 3), 1)
        sizes = [picked.shape[1] for picked, _ in training(plan, 1, 5, 100)]
        assert sizes == [10, 3, 3, 10, 3]
        assert [plan.cost(i) for i in range(3)] == [20, 6, 6]

    def test_the_published_test_set_overlaps_with_its_adaptation_set(self) -> None:
        """Five tasks, the same points in all, the first ten adapted on; ours share no point."""
        support, query = published_test()
        assert query.x.shape == (5, 100, 1)
        assert torch.equal(query.x[0], query.x[4])
        assert torch.equal(support.x, query.x[:, :10])
        amplitude = np.random.RandomState(3).uniform(1, 5)
        assert query.y[3].abs().max().item() == pytest.approx(amplitude, rel=0.01)
        support, query = fresh_test(7, tasks=20)
        assert not np.isin(support.x.numpy(), query.x.numpy()).any()


def test_a_population_is_its_members() -> None:
    """Each run of three at once is the run alone: parameters, and memories of the tasks that came."""
    net, method = network(), METHODS["moml"]
    population, first = begin(method, net, 1, 3, 100), begin(method, net, 1, 3, 100)
    draws = list(training(method.plan(1), 3, 4, 100))
    assert [*population.learn(draws)] == [1, 2, 3, 4]
    learner, state, memories = first.learner, first.learner.init(net.initial), first.memories[2].clone()
    for picked, episode in draws:
        at, alone = picked[2], Episode(*(Batch(*(tensor[2] for tensor in batch)) for batch in episode))
        state, memories[at], _ = learner.update(state, memories[at], torch.ones(3), alone)
    assert not torch.equal(population.state.params[0], population.state.params[2])
    torch.testing.assert_close(population.state.params[2], state.params)
    torch.testing.assert_close(population.memories[2], memories)
    assert (memories != first.memories[2]).any(1).sum() > 3


def test_published_memories_begin_at_one_step_from_the_start() -> None:
    """U_i = w − α∇l(w; S) for all 25 tasks; MOML v2 keeps it as a residual, whose clock is at 0."""
    net = network()
    population = begin(METHODS["moml"], net, 3, 2, 100)
    batch = first_visits(3, 2)
    gradient = torch.func.grad(net.loss)(net.initial, batch.x[1, 4], batch.y[1, 4])
    torch.testing.assert_close(population.memories[1, 4], net.initial - 0.01 * gradient)
    assert population.seen.all()
    residual = begin(METHODS["moml_v2"], net, 3, 2, 100).memories
    torch.testing.assert_close(residual[1, 4, :-2], -0.01 * gradient)
    assert not residual[..., -2:].any()


def test_the_first_parameters_are_those_of_the_public_code() -> None:
    """torch.manual_seed(1234), then the three layers in their order."""
    with torch.random.fork_rng():
        torch.manual_seed(1234)
        layers = [torch.nn.Linear(1, 40), torch.nn.Linear(40, 40), torch.nn.Linear(40, 1)]
    wanted = torch.cat([p.detach().flatten() for layer in layers for p in layer.parameters()])
    assert torch.equal(network().initial, wanted)


def test_every_method_sees_the_same_number_of_examples() -> None:
    """That of MOML's 40,000 iterations, up to one iteration; what the published code does, too."""
    for name, k in ((name, k) for name in METHODS for k in (1, 3)):
        method = METHODS[name]
        plan, rounds = method.plan(k), method.rounds(40_000, k)
        period = len(plan.tasks)
        seen = sum(plan.cost(i) for i in range(period)) * rounds / period
        extra = 1.5 if name == "local_moml" else 1.0  # the published ratio counts K0 against K, not K + K
        assert seen == pytest.approx(40_000 * 3 * 2 * k, rel=0.3 * (extra - 1) + 1e-3), name
    assert [METHODS[name].rounds(40_000, 1) for name in ("nasa", "local_moml", "bspiderboost")] == [
        4800,
        5714,
        22_500,
    ]
    assert [METHODS[name].logged(40_000) for name in ("moml", "nasa", "local_moml", "bspiderboost")] == [
        4000,
        480,
        800,
        2250,
    ]


def test_errors_fall_and_memory_beats_none() -> None:
    """After 300 of 40,000 iterations MOML is ahead of MAML at the published settings, as in the paper."""
    report = sinewave(quiet, methods=("maml", "moml"), shots=(1,), seeds=2, iterations=300)
    errors = {row.method: row.measured[1].mean for row in report.rows}
    at_first = sinewave_.test_errors(network(), network().initial[None], fresh_test(7)).item()
    assert errors["moml"] < errors["maml"] < at_first
    assert all(row.published is None for row in report.rows)
    curves = {curve.label: curve for curve in report.panels[0].curves}
    assert curves["moml"].x[-1] == 300 * 6
    assert curves["moml"].y[-1] < curves["moml"].y[0]


@pytest.mark.parametrize("missing", ["compiler", "support"])
def test_without_a_working_compiler_the_step_stays_as_it_is(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No compiler on the machine, or one that fails."""

    def step(x: Tensor) -> list[Tensor]:
        return [torch.sin(x) * x]

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no inductor here")

    if missing == "compiler":
        monkeypatch.setattr(shutil, "which", lambda _: None)
    else:
        monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(torch, "compile", fail)
    assert compiled(step, [torch.ones(2)]) is step


def test_the_rate_drops_before_the_last_quarter() -> None:
    """η/10 from iteration ⌊0.75 T⌋ on, as in the published code: a run's end moves a tenth as far."""
    net = network()
    method = METHODS["maml"]
    kept = sinewave_.run(replace(method, drops=False), net, 1, 1, 80, quiet)
    dropped = sinewave_.run(method, net, 1, 1, 80, quiet)
    moved = [[b - a for (_, [a]), (_, [b]) in pairwise(run.curve)] for run in (kept, dropped)]
    assert moved[0][:13] == moved[1][:13]
    assert sum(map(abs, moved[1][15:])) < 0.3 * sum(map(abs, moved[0][15:]))
