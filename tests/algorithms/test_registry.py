"""From `[algorithm]` and `[outer]` to a learner that runs."""

from functools import cache

import pytest
import torch

from streammeta.algorithms.registry import build_learner
from streammeta.config import Config, load_config
from streammeta.config.fields import fields, variants
from streammeta.config.outer import ScheduleSection
from streammeta.events import Batch, Episode
from streammeta.learner.tracing import Steps
from streammeta.models.loading import load_network
from streammeta.models.network import Network

NAMES = sorted(variants("algorithm"))
CHANGES = {
    "moml": ["beta=0.5", "order=first", "hessian_set=half", "outer_scale=beta"],
    "moml_v2": ["beta=0.5", "tasks=9", "order=first", "hessian_set=half", "outer_scale=beta"],
    "maml": ["inner_steps=2", "order=first", "hessian_set=half"],
    "reptile": ["inner_steps=4"],
    "anil": ["inner_steps=3", "head=0.*"],
    "nasa": ["beta=0.25", "gamma=0.5", "order=first", "hessian_set=half", "outer_scale=beta"],
    "bspiderboost": ["period=1", "order=first", "hessian_set=half"],
    "local_moml": [
        "beta=0.5",
        "local_steps=5",
        "initial_examples=7",
        "keep_memory=true",
        "order=first",
        "outer_scale=beta",
    ],
    "per_fedavg": ["local_steps=1", "order=first"],
    "fo_b_maml": ["inner_steps=3", "lambda=0.5", "nu=0.5", "difference=forward"],
    "imaml": ["inner_steps=3", "lambda=0.5", "cg_steps=1", "cg_tolerance=0.1"],
    "multi_step_maml": [
        "inner_steps=2",
        "smoothness=2.0",
        "data=resampling",
        "meta_step=fixed",
        "hessian_lipschitz=2000.0",
    ],
    "memory_reduced": [
        "inner_steps=3",
        "head=0.*",
        "ridge=0.5",
        "cg_steps=1",
        "cg_tolerance=100.0",
        "warm_start=true",
    ],
}
BASES = {
    "local_moml": ["local_steps=1"],  # one step shares any number of examples
    "multi_step_maml": ["meta_step=adaptive"],  # in force for the constants
}
SHARED = ["clip_norm=0.001", "schedule={name='step', updates=2, fractions=[0.5]}"]
OUTER_CHANGES = {
    "sgd": ["momentum=0.5", *SHARED],
    "sngdm": ["momentum=0.5", *SHARED],
    "normalized": SHARED[1:],  # a clipped gradient has the same direction
    "clipped": ["max_step=0.001", *SHARED],
    "adam": ["beta1=0.5", "beta2=0.5", "epsilon=0.5", *SHARED],
}

for _name, _changes in CHANGES.items():
    if _name not in ("online_sgd", "independent"):  # which learn nothing through their adaptation
        _changes.append("inner_clip_norm=0.01")


def chosen(name: str, *changes: str) -> Config:
    """The configuration of an algorithm, with settings of its table changed."""
    overrides = [f"algorithm.name={name}", "events.batch=2", "algorithm.inner_lr=0.2", "outer.lr=0.05"]
    return load_config(None, overrides + [f"algorithm.{change}" for change in changes], {})


def a_network() -> Network:
    """An MLP 1-4-1 in double precision, on the loss mse."""
    torch.set_num_threads(1)
    args = {"sizes": [1, 4, 1]}
    return load_network("streammeta.models:mlp", args, loss="mse", seed=0, dtype="float64", device="cpu")


def drawn(draws: torch.Generator, examples: int) -> Batch[torch.Tensor]:
    """Examples of two sines."""
    x = 4 * torch.rand(2, examples, 1, generator=draws, dtype=torch.float64) - 2
    return Batch(x, torch.sin(x + torch.arange(2).view(2, 1, 1)))


def learned(config: Config, *, trace: bool = False) -> list[torch.Tensor]:
    """Meta-parameters and memories after four iterations of two tasks."""
    network = a_network()
    learner = build_learner(config.algorithm, config.outer, network)
    steps, state = Steps(learner, network), learner.init(network.initial)
    update = steps.step if trace else learner.update
    draws = torch.Generator().manual_seed(1)
    rows, seen = torch.zeros(2, learner.memory_size, dtype=torch.float64), torch.zeros(2).double()
    for _ in range(4):
        state, rows, *_ = update(state, rows, seen, Episode(drawn(draws, 10), drawn(draws, 10)))
        seen = torch.ones(2).double()
    assert not (torch.equal(state.params, network.initial) and rows.numel() == 0)
    return [state.params, rows]


@cache
def unchanged(name: str) -> list[torch.Tensor]:
    """What an algorithm learns before a setting of its table is changed."""
    return learned(chosen(name, *BASES.get(name, [])))


@cache
def unchanged_outer(name: str) -> list[torch.Tensor]:
    """What is learned under an outer optimiser before a setting of its table is changed."""
    return learned(load_config(None, outer(name), {}))


def outer(name: str, *changes: str) -> list[str]:
    """The settings of an outer optimiser, with some of its table changed."""
    return [f"outer.name={name}", "outer.lr=0.05", *(f"outer.{change}" for change in changes)]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_a_learner_that_runs(name: str) -> None:
    """With the defaults of its table and examples as in the default configuration."""
    weaker = ["lambda=1.0"] if name == "imaml" else []  # the step of 0.2 is for none of 30
    assert all(tensor.isfinite().all() for tensor in learned(chosen(name, *weaker), trace=True))


@pytest.mark.parametrize(
    ("name", "change"), [(n, change) for n, all_of in CHANGES.items() for change in all_of]
)
def test_every_setting_reaches_the_learner(name: str, change: str) -> None:
    """Changing it changes what is learned."""
    after = learned(chosen(name, *BASES.get(name, []), change))
    assert not all(torch.equal(a, b) for a, b in zip(unchanged(name), after, strict=True))


@pytest.mark.parametrize(
    ("name", "change"), [(n, change) for n, all_of in OUTER_CHANGES.items() for change in all_of]
)
def test_every_setting_reaches_the_outer_optimiser(name: str, change: str) -> None:
    """Changing it changes what is learned."""
    after = learned(load_config(None, outer(name, change), {}))
    assert not all(torch.allclose(a, b) for a, b in zip(unchanged_outer(name), after, strict=True))


def test_every_setting_of_these_tables_is_tried() -> None:
    """A new setting must be put into the lists above."""
    for name, changes in OUTER_CHANGES.items():
        keys = fields(variants("outer")[name]).keys() - {"name", "lr"}
        assert keys - {"clip_norm"} == {change.split("=")[0] for change in changes} - {"clip_norm"}
    for name, changes in CHANGES.items():
        keys = fields(variants("algorithm")[name]).keys() - {"name", "inner_lr", "hessian_set"}
        tried = {change.split("=")[0] for change in changes}
        assert keys - {"inner_clip_norm"} == tried - {"hessian_set", "inner_clip_norm"}


def test_the_rates_reach_the_learner() -> None:
    """`algorithm.inner_lr` and `outer.lr` are α and η of the first state."""
    network = a_network()
    for name in NAMES:
        config = chosen(name)
        state = build_learner(config.algorithm, config.outer, network).init(network.initial)
        assert state.inner_lr == 0.2
        assert state.meta_lr == 0.05


@pytest.mark.parametrize("name", NAMES)
def test_the_rate_that_is_shown_is_that_of_the_next_update(name: str) -> None:
    """Base rate times schedule, at every update; where tasks count for themselves, the base rate."""
    network, draws = a_network(), torch.Generator().manual_seed(5)
    config = chosen(name, *BASES.get(name, ()))
    falling = config.outer.model_copy(update={"schedule": ScheduleSection(name="inverse_sqrt", updates=1)})
    learner = build_learner(config.algorithm, falling, network)
    steps, state = Steps(learner, network), learner.init(network.initial)
    rates = []
    for _ in range(3):
        rates.append(steps.meta_rate(state))
        episode = Episode(drawn(draws, 10), drawn(draws, 10))
        rows, seen = torch.zeros(2, learner.memory_size).double(), torch.zeros(2).double()
        state, _, _ = learner.update(state, rows, seen, episode)
    expected = [0.05] * 3 if name == "independent" else [0.05 / (1 + t) ** 0.5 for t in range(3)]
    assert rates == pytest.approx(expected)
    assert Steps(build_learner(config.algorithm, config.outer, network), network).meta_rate(state) == 0.05


@pytest.mark.parametrize("name", ["imaml", "memory_reduced"])
def test_the_defaults_suit_the_default_model(name: str) -> None:
    """No update of a first stream of sines is refused, and the loss does not grow."""
    config = load_config(None, [f"algorithm.name={name}"], {})
    model = config.model
    torch.set_num_threads(1)
    network = load_network(
        model.factory, model.args, loss=model.loss, seed=model.seed, dtype=model.dtype, device=model.device
    )
    learner, draws = build_learner(config.algorithm, config.outer, network), torch.Generator().manual_seed(1)
    steps, state, losses = Steps(learner, network), learner.init(network.initial), []
    amplitudes, phases = 1 + 4 * torch.rand(20, generator=draws), 3 * torch.rand(20, generator=draws)
    for event in range(150):
        x = 10 * torch.rand(2, 1, 10, 1, generator=draws) - 5
        y = amplitudes[event % 20] * torch.sin(x + phases[event % 20])
        episode = Episode(Batch(x[0], y[0]), Batch(x[1], y[1]))
        stepped = steps.step(state, torch.zeros(1, learner.memory_size), torch.zeros(1), episode)
        assert stepped.finite
        state = stepped.state
        losses.append(stepped.info.loss_adapted.item())
    assert sum(losses[-60:]) < sum(losses[:60])
