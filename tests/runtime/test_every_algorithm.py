"""Each algorithm by its name in the configuration: killed lives end in the bits of an undisturbed one."""

import random
from pathlib import Path

import pytest
import torch

from streammeta.algorithms.base import State
from streammeta.config import Config
from streammeta.config.algorithms import NAMES
from streammeta.learner.flat import state_tensors
from streammeta.runtime.blueprint import build_blueprint
from tests.scripted import make_script
from tests.world import CONFIG, World

EVENTS, TASKS = 40, 5

SETTINGS: dict[str, dict[str, object]] = {
    "moml_v2": {"events.batch": 3, "algorithm.beta": 0.2},
    "nasa": {"events.batch": 3},
    "bspiderboost": {"events.batch": 3, "algorithm.period": 4},
    "local_moml": {
        "events.batch": 3,
        "algorithm.initial_examples": 2,
        "algorithm.local_steps": 2,
        "algorithm.keep_memory": "true",
    },
    "per_fedavg": {"events.batch": 3, "algorithm.local_steps": 2},
    "multi_step_maml": {
        "algorithm.inner_steps": 2,
        "algorithm.data": "resampling",
        "algorithm.meta_step": "adaptive",
    },
    "memory_reduced": {
        "algorithm.inner_steps": 3,
        "algorithm.cg_steps": 4,
        "algorithm.warm_start": "true",
    },
}
"""Settings with which an algorithm keeps something across events, where it can."""

KEEPS_TASKS = {"moml", "moml_v2", "nasa", "local_moml", "independent", "memory_reduced"}


def config_of(name: str) -> Config:
    """The configuration of the world with this algorithm."""
    sections = CONFIG.model_dump(exclude={"algorithm"}) | {"algorithm": {"name": name, "inner_lr": 0.05}}
    for setting, value in SETTINGS.get(name, {}).items():
        section, _, field = setting.partition(".")
        sections[section][field] = True if value == "true" else value
    return Config.model_validate(sections)


@pytest.mark.parametrize("name", NAMES)
def test_kills_change_no_bit(name: str, tmp_path: Path) -> None:
    """Meta-parameters, what optimiser and algorithm keep, rows with memories: all of them, and all counts."""
    config = config_of(name)
    blueprint = build_blueprint(config)
    script = make_script(9, partitions=2, tasks=TASKS, events=EVENTS, examples=4, poison=0.05)
    calm, killed = (World(script, tmp_path, config, learner=blueprint) for _ in range(2))
    assert calm.live()
    draws = random.Random(4)
    assert killed.live_killed((draws.randint(20, 90) for _ in range(4)), draws)
    one, two = calm.checkpoint(), killed.checkpoint()
    assert _bits(one.state) == _bits(two.state)
    assert repr((one.progress, one.refused, one.tally)) == repr((two.progress, two.refused, two.tally))
    assert repr(calm.rows()) == repr(killed.rows())
    assert one.progress.events > EVENTS / 2
    assert torch.equal(one.state.params, blueprint.network.initial) == (name == "independent")
    assert {bool(row.memory) for row in calm.rows().values()} == {name in KEEPS_TASKS}


def _bits(state: State) -> list[bytes]:
    return [tensor.numpy().tobytes() for tensor in state_tensors(state)]
