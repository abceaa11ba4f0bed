"""Restoring a state onto a configuration: rates are the configuration's, everything else must fit."""

from functools import cache
from typing import Any

import pytest
import torch
from torch import nn

from streammeta.config import Config, load_config
from streammeta.errors import ConfigError, StateError
from streammeta.evaluation.prequential import Prequential
from streammeta.runtime.blueprint import Blueprint, build_blueprint, restore
from streammeta.state.checkpoint import Checkpoint, pack
from streammeta.state.memory_store import MemoryStore
from streammeta.state.progress import Progress

BASE = (
    "model.factory=streammeta.models:mlp",
    "model.args.sizes=[2, 3, 1]",
    "algorithm.inner_lr=0.1",
    "outer.lr=0.2",
    "outer.momentum=0.5",
)

WIDTHS = [2]


def wide() -> nn.Module:
    """A user's factory, whose code changes between two runs."""
    return nn.Linear(WIDTHS[0], 1)


def config_of(*settings: str) -> Config:
    """The base, with some settings changed."""
    return load_config(None, [*BASE, *settings], {})


@cache
def blueprint_of(*settings: str) -> Blueprint:
    """What it computes with."""
    return build_blueprint(config_of(*settings))


def stored(blueprint: Blueprint) -> tuple[MemoryStore, Checkpoint]:
    """A store with a checkpoint somewhere on the way."""
    state = blueprint.learner.init(blueprint.network.initial)
    checkpoint = Checkpoint(
        origin=blueprint.origin,
        state=state._replace(
            params=state.params + 1 / 3, outer={name: t + 1 / 7 for name, t in state.outer.items()}
        ),
        progress=Progress(9, Prequential().fold(1.0, 2.0, 3.0, 4.0)),
        positions={0: 5, 1: 8},
        refused={"too_large": 1},
    )
    store = MemoryStore()
    store.commit(pack(checkpoint), {})
    return store, checkpoint


def test_a_new_state_begins_with_the_model() -> None:
    """The seed's parameters, the configured rates, no events, no positions."""
    blueprint = blueprint_of()
    begun = restore(blueprint, MemoryStore())
    assert torch.equal(begun.state.params, blueprint.network.initial)
    assert (begun.state.inner_lr.item(), begun.state.meta_lr.item()) == pytest.approx((0.1, 0.2))
    assert (begun.progress, begun.positions, begun.refused) == (Progress(), {}, {})
    assert not begun.state.outer["momentum"].any()


def test_a_state_comes_back_with_its_bits() -> None:
    """Parameters, momentum, counters and positions, to the last bit."""
    store, checkpoint = stored(blueprint_of())
    back = restore(blueprint_of(), store)
    assert torch.equal(back.state.params, checkpoint.state.params)
    assert torch.equal(back.state.outer["momentum"], checkpoint.state.outer["momentum"])
    assert (back.progress, back.positions, back.refused) == (
        checkpoint.progress,
        checkpoint.positions,
        checkpoint.refused,
    )


@pytest.mark.parametrize(
    ("setting", "rates"), [("algorithm.inner_lr=0.7", (0.7, 0.2)), ("outer.lr=0.01", (0.1, 0.01))]
)
def test_learning_rates_are_the_configurations(setting: str, rates: tuple[float, float]) -> None:
    """A rate changed between two runs takes effect; nothing else moves."""
    store, checkpoint = stored(blueprint_of())
    back = restore(blueprint_of(setting), store)
    assert (back.state.inner_lr.item(), back.state.meta_lr.item()) == pytest.approx(rates)
    assert torch.equal(back.state.params, checkpoint.state.params)
    assert torch.equal(back.state.outer["momentum"], checkpoint.state.outer["momentum"])


@pytest.mark.parametrize(
    "setting",
    [
        "state.cache_tasks=3",
        "state.checkpoint_events=3",
        "model.threads=1",
        "http.port=0",
        "log.level=debug",
        "kafka.bootstrap_servers=elsewhere:1",
        "kafka.group_id=other",
        "kafka.max_event_bytes=17",
    ],
)
def test_what_a_state_does_not_depend_on_may_change(setting: str) -> None:
    """Addresses, caches, logs: the state goes on."""
    store, checkpoint = stored(blueprint_of())
    assert torch.equal(restore(blueprint_of(setting), store).state.params, checkpoint.state.params)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("kafka.topic=other", 'kafka.topic: the state was made with "tasks", the configuration says "other"'),
        ("model.seed=1", "model.seed: the state was made with 0, the configuration says 1"),
        ("model.args.sizes=[2, 4, 1]", "model.args.sizes: the state was made with"),
        ("model.loss=huber", "model.loss: "),
        ("model.dtype=float64", "model.dtype: "),
        ("algorithm.beta=0.9", "algorithm.beta: the state was made with 0.3, the configuration says 0.9"),
        ("algorithm.order=first", "algorithm.order: "),
        ("algorithm.outer_scale=beta", "algorithm.outer_scale: "),
        ("algorithm.name=maml", "algorithm.name: "),
        ("outer.momentum=0.9", "outer.momentum: "),
        ("outer.clip_norm=1.0", "outer.clip_norm: the state was made with nothing"),
    ],
)
def test_everything_else_is_refused_by_name(setting: str, said: str) -> None:
    """Both values and the remedy; the state is untouched by the refusal."""
    store, _ = stored(blueprint_of())
    before = store.load()
    with pytest.raises(StateError, match="does not fit the configuration") as refused:
        restore(blueprint_of(setting), store)
    assert said in str(refused.value)
    assert "state.dir" in str(refused.value)
    assert store.load() == before


def test_a_factory_whose_code_changed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same settings, other parameters: both layouts are shown."""
    settings = [f"model.factory={__name__}:wide", "model.args={}"]
    config = load_config(None, settings, {})
    store, _ = stored(build_blueprint(config))
    monkeypatch.setitem(globals(), "WIDTHS", [3])
    with pytest.raises(StateError, match=r"were weight \[1, 2\], bias \[1\], now they are weight \[1, 3\]"):
        restore(build_blueprint(config), store)


def test_a_blueprint_computes_with_the_configured_threads() -> None:
    """The bits of a sum depend on their number."""
    before = torch.get_num_threads()
    try:
        build_blueprint(config_of("model.threads=2"))
        assert torch.get_num_threads() == 2
        build_blueprint(config_of())
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("model.factory=streammeta.models:nlp",), "has no nlp"),
        (("model.args.sizes=[1]",), "model.args"),
        (("model.device=cuda:99",), "model.device"),
    ],
)
def test_a_model_that_cannot_be_built_is_a_configuration_error(settings: Any, said: str) -> None:
    """Named by its setting."""
    with pytest.raises(ConfigError, match=said):
        build_blueprint(config_of(*settings))
