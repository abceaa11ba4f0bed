"""Events that are huge or adversarial, one in a hundred: with clipping on, they cost little."""

from typing import Final

import numpy as np
import torch

from streammeta.config import Config
from streammeta.errors import BadEvent
from streammeta.events import Array, Batch, Episode, TaskEvent
from streammeta.learner.engine import Engine
from streammeta.runtime.blueprint import Blueprint, build_blueprint
from streammeta.state.memories import Memories
from streammeta.state.progress import Progress
from tests.learning import learn, nothing_stored

EVENTS, TASKS, HELD_OUT, SHARE = 1000, 40, 100, 0.01
FEATURES, SHOTS = 4, 10
CLIPPED: Final = Config.model_validate(
    {
        "model": {"args": {"sizes": [FEATURES, 1]}},
        "algorithm": {"name": "moml", "inner_lr": 0.1, "beta": 0.3, "inner_clip_norm": 10.0},
        "outer": {"name": "sgd", "lr": 0.01, "momentum": 0.0, "clip_norm": 1.0},
    }
)


def drawn(centre: Array, draws: np.random.Generator) -> Episode[Array]:
    """A linear task near the centre that all tasks share, as far from 0 as no task is from it."""
    own = centre + 0.3 * draws.normal(size=FEATURES)
    batches = []
    for _ in range(2):
        x = draws.normal(size=(SHOTS, FEATURES))
        batches.append(Batch(x, (x @ own + 0.1 * draws.normal(size=SHOTS))[:, None]))
    return Episode(*batches)


def spoilt(episode: Episode[Array], draws: np.random.Generator) -> Episode[Array]:
    """Targets or inputs that are huge, targets upside down and larger, or all at one far value."""
    (sx, sy), (x, y) = episode
    scale = float(10 ** draws.uniform(2, 12))
    match int(draws.integers(4)):
        case 0:
            return Episode(Batch(sx, scale * sy), Batch(x, scale * y))
        case 1:
            return Episode(Batch(scale * sx, sy), Batch(scale * x, y))
        case 2:
            return Episode(Batch(sx, -10 * sy), Batch(x, -10 * y))
    return Episode(Batch(sx, np.full_like(sy, scale)), Batch(x, np.full_like(y, -scale)))


def held_out_losses(blueprint: Blueprint, *, share: float, events: int = EVENTS) -> tuple[float, float]:
    """On tasks never seen, after one adaptation: before and after events of which so many were spoilt."""
    network, learner = blueprint.network, blueprint.learner
    memories = Memories(nothing_stored, network.initial.new_zeros(learner.memory_size), TASKS)
    engine = Engine(network, blueprint.steps, learner.init(network.initial), Progress(), memories)
    centre = np.array([2.0, -1.0, 1.5, 0.5])
    draws, spoils = np.random.default_rng(3), np.random.default_rng(4)
    unseen = [drawn(centre, np.random.default_rng([7, number])) for number in range(HELD_OUT)]
    before = _mean_loss(blueprint, engine, unseen)
    for number in range(events):
        episode, bad = drawn(centre, draws), spoils.random() < share
        event = TaskEvent(f"task-{number % TASKS}", spoilt(episode, spoils) if bad else episode, 0)
        try:
            learn(engine, event)
        except BadEvent:
            assert bad
    return before, _mean_loss(blueprint, engine, unseen)


def _mean_loss(blueprint: Blueprint, engine: Engine, episodes: list[Episode[Array]]) -> float:
    losses = []
    for support, query in episodes:
        given, asked = (
            Batch(*(torch.from_numpy(one).float() for one in batch)) for batch in (support, query)
        )
        losses.append(blueprint.network.loss(blueprint.learner.adapt(engine.state, given), *asked).item())
    return float(np.mean(losses))


def test_clipping_bounds_what_they_cost() -> None:
    """Within 10 % of the clean run's loss, which has learned; without clipping they ruin it."""
    blueprint = build_blueprint(CLIPPED)
    (before, clean), (_, spoiled) = (held_out_losses(blueprint, share=share) for share in (0.0, SHARE))
    assert clean < before / 5
    assert spoiled <= 1.1 * clean
    outer = CLIPPED.outer.model_copy(update={"clip_norm": None})
    algorithm = CLIPPED.algorithm.model_copy(update={"inner_clip_norm": None})
    unclipped = build_blueprint(CLIPPED.model_copy(update={"outer": outer, "algorithm": algorithm}))
    _, ruined = held_out_losses(unclipped, share=10 * SHARE, events=EVENTS // 5)
    assert ruined > 10 * clean
