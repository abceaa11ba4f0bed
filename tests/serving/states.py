"""States to ask: of a Learner that has met some hundred tasks, and what NumPy makes of their export."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from click.testing import CliRunner
from safetensors.numpy import load_file

from streammeta.api import Learner
from streammeta.cli import main
from streammeta.config import Config
from streammeta.events import Array, Batch
from streammeta.library.making import config_for
from streammeta.library.states import Homes

SETTINGS: dict[str, Any] = {
    "args": {"sizes": [1, 4, 1]},
    "algorithm": {"name": "moml", "order": "first", "beta": 0.4},
    "inner_lr": 0.05,
    "meta_lr": 0.02,
    "events": {"kind": "examples", "support": 4, "query": 2},
}
INNER_LR = np.float32(0.05)


class Asked(NamedTuple):
    """Tasks and what was learned of them.

    Attributes:
        path: The state directory.
        names: Task -> how it was met.
        held: Task -> the newest examples that its buffer holds.
        export: What `streammeta export` wrote of all tasks.
        config: The configuration of the state.
    """

    path: Path
    names: list[str]
    held: dict[str, Batch[Array]]
    export: dict[str, Array]
    config: Config


def asked(folder: Path, tasks: int) -> Asked:
    """A state that has met so many tasks: a third by episodes, the others by examples, which then wait."""
    draws = np.random.default_rng(7)
    learner = Learner(**SETTINGS)
    held: dict[str, Batch[Array]] = {}
    names = [f"task-{number}" for number in range(tasks)]
    for number, task in enumerate(names):
        x = draws.normal(size=(6, 1)).astype(np.float32)
        y = (number / tasks * np.sin(x) + 0.5).astype(np.float32)
        if number % 3 == 0:
            learner.learn(task, (x[:4], y[:4]), (x[4:], y[4:]))
        else:
            learner.learn_one(task, x, y)  # an episode of all; the newest four wait
            held[task] = Batch(x[2:], y[2:])
    learner.save(folder / "state")
    words = ["export", "--state", folder / "state", "--output", folder / "all", "--all-tasks"]
    assert CliRunner().invoke(main, [*map(str, words)]).exit_code == 0
    config = config_for(Homes().read(folder / "state"), None, named=None, trusted=False)
    return Asked(folder / "state", names, held, load_file(folder / "all"), config)


def parameters(export: dict[str, Array], prefix: str) -> list[Array]:
    """Weights and biases, layer by layer."""
    return [export[f"{prefix}/{layer}.{name}"] for layer in (0, 2) for name in ("weight", "bias")]


def forward(params: list[Array], x: Array) -> Array:
    """The network 1-4-1 by hand."""
    one, first, two, second = params
    output: Array = np.maximum(x @ one.T + first, 0) @ two.T + second
    return output


def adapted(params: list[Array], support: Batch[Array]) -> list[Array]:
    """One gradient step of the mean squared error by hand."""
    one, first, two, _ = params
    x, y = support
    before = x @ one.T + first
    hidden = np.maximum(before, 0)
    error = 2 * (forward(params, x) - y) / y.size
    back = (error @ two) * (before > 0)
    gradients = [back.T @ x, back.sum(0), error.T @ hidden, error.sum(0)]
    return [value - INNER_LR * gradient for value, gradient in zip(params, gradients, strict=True)]
