"""One update by each algorithm at its default settings: what an event costs, and what a task keeps."""

from collections.abc import Iterator
from functools import partial
from itertools import islice

import torch

from streammeta.benchmarks.result import Result, seconds_per_call
from streammeta.config import Config, load_config
from streammeta.config.algorithms import NAMES
from streammeta.datasets.sinusoid import Sinusoids, sinusoid
from streammeta.events import Batch, Episode
from streammeta.runtime.assembly import build_brain

TOGETHER = 4
"""Events of an iteration of the algorithms that need several tasks at once."""


def algorithms() -> Iterator[Result]:
    """Seconds per event and numbers per task of the sinusoid MLP (1761 parameters, K = 10), traced."""
    for name in NAMES:
        config = _config(name)
        yield Result(f"{name}, an event", 1e6 * _seconds(config) / config.events.batch, "µs")
        yield Result(f"{name}, kept per task", build_brain(config).learner.memory_size, "numbers")


def _config(name: str) -> Config:
    batch = TOGETHER if name in ("nasa", "bspiderboost") else 1
    return load_config(None, [f"algorithm.name={name}", f"events.batch={batch}"], {})


def _seconds(config: Config) -> float:
    brain = build_brain(config)
    size = config.events.batch
    tasks = islice(sinusoid(Sinusoids()), size)
    episodes = [brain.network.tensors(arrays) for _, arrays in tasks]
    episode = Episode(
        *(
            Batch(torch.stack([b.x for b in sets]), torch.stack([b.y for b in sets]))
            for sets in zip(*episodes, strict=True)
        )
    )
    state = brain.learner.init(brain.network.initial)
    memory, seen = torch.zeros(size, brain.learner.memory_size), torch.zeros(size)
    memory = brain.steps.step(state, memory, seen, episode).memory
    step = partial(brain.steps.step, state, memory, torch.ones(size), episode)
    return seconds_per_call(step, calls=50, rounds=3)
