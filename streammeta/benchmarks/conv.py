"""`conv4` on Omniglot, 5 ways, 5 shots, strict: rows of the suite `step`.

A network whose time lies in convolutions: what is measured is that the engine adds nothing to them.
"""

from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch

from streammeta.benchmarks.learners import Learner
from streammeta.benchmarks.peers.problem import Problem
from streammeta.benchmarks.peers.torch_passes import bare_passes
from streammeta.benchmarks.rows import Plan, Row, Size, absent
from streammeta.benchmarks.turns import Measure, block, turns
from streammeta.config import load_config
from streammeta.datasets.omniglot import Drawings, Ways, omniglot
from streammeta.datasets.omniglot_data import load_drawings
from streammeta.errors import ConfigError
from streammeta.learner.executors.compiled import CompiledSteps
from streammeta.models import conv4 as network
from streammeta.models.loading import load_network

COMPILED = "conv4, engine, compiled steps"
PASSES = "conv4, bare passes in eager torch"
ROUNDS: dict[Size, int] = {"small": 1, "usual": 5, "full": 15}


def conv4(plan: Plan, compiled: CompiledSteps | None) -> Iterator[Row]:
    """Milliseconds an event of the engine and of its bare passes, and the rate of one against the other."""
    channels, events = (4, 1) if plan.size == "small" else (64, 2)
    made = images(plan, events)
    settings = ['model.loss="cross_entropy"', 'model.factory="streammeta.models:conv4"']
    config = load_config(None, [*settings, f"model.args={{channels={channels}}}"], {})
    measures: dict[str, Measure] = {
        "conv4, engine, traced steps": block(Learner(made, None, config), events, events)
    }
    try:
        if compiled is None:
            yield absent(COMPILED, "ms", "as above")
        else:
            measures[COMPILED] = block(Learner(made, compiled, config), events, events)
    except ConfigError as error:  # as `require` has it; a daemon goes on with the traced one
        yield absent(COMPILED, "ms", str(error))
    module = network(channels=channels)
    of = load_network(
        "streammeta.models:conv4",
        {"channels": channels},
        loss="cross_entropy",
        seed=0,
        dtype="float32",
        device="cpu",
    )
    episodes = [of.tensors(episode) for episode in made.episodes]
    loss = torch.nn.functional.cross_entropy
    measures[PASSES] = block(lambda number: bare_passes(module, loss, episodes[number]), events)
    measured = turns(measures, plan.rounds_of(ROUNDS), uncounted=plan.uncounted)
    note = "Omniglot" if plan.drawings else "images made up"
    for name, rounds in measured.items():
        yield rounds.row(name, "ms", 1e3, note)
    for name, rounds in measured.items():
        if name != PASSES:
            yield measured[PASSES].over(rounds).row(f"{PASSES} / {name}", "ratio")


def images(plan: Plan, events: int) -> Problem:
    """Episodes of 25 + 25 drawings; the first parameters are left to the network."""
    drawings = load_drawings(plan.drawings, "background") if plan.drawings else _made_up()
    stream = islice(omniglot(drawings, Ways(ways=5, shots=5, query=5)), events)
    episodes = [episode for _, episode in stream]
    return Problem([*range(events)], episodes, events, np.empty(0, np.float32))


def _made_up() -> Drawings:
    random = np.random.default_rng(0)
    return Drawings((random.random((10, 20, 28, 28)) < 0.1).astype(np.uint8), ("Made up",) * 10)
