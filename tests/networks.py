"""Small networks for tests, and the models and losses that a user might bring, by import path."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from streammeta.algorithms.base import MetaLearner
from streammeta.algorithms.maml import maml
from streammeta.algorithms.moml import moml
from streammeta.algorithms.outer import clip_norm, sgd
from streammeta.events import Array, Batch, Episode, TaskEvent, episode_of
from streammeta.models.loading import load_network
from streammeta.models.network import Network

MLP = ("streammeta.models:mlp", {"sizes": [2, 3, 1]})
CLASSIFIER = ("streammeta.models:mlp", {"sizes": [2, 4, 3]})


def network(
    factory: str = MLP[0],
    args: dict[str, Any] | None = None,
    *,
    loss: str = "mse",
    seed: int = 0,
    dtype: str = "float64",
) -> Network:
    """A network on the CPU, on one thread as in the daemon; default: the MLP 2-3-1 with 13 parameters."""
    torch.set_num_threads(1)
    given = MLP[1] if args is None and factory == MLP[0] else args or {}
    return load_network(factory, given, loss=loss, seed=seed, dtype=dtype, device="cpu")


def classifier(**settings: Any) -> Network:
    """An MLP 2-4-3 over three classes, with 27 parameters."""
    return network(*CLASSIFIER, loss="cross_entropy", **settings)


LEARNERS: dict[str, Callable[[Network], MetaLearner]] = {
    "moml": lambda n: moml(
        n.loss, sgd(momentum=0.5), dimension=n.dimension, inner_lr=0.1, meta_lr=0.05, beta=0.3
    ),
    "moml-first-order": lambda n: moml(
        n.loss, sgd(), dimension=n.dimension, inner_lr=0.1, meta_lr=0.05, beta=0.3, order="first"
    ),
    "moml-half": lambda n: moml(
        n.loss, sgd(), dimension=n.dimension, inner_lr=0.1, meta_lr=0.05, beta=0.3, hessian_set="half"
    ),
    "moml-clipped": lambda n: moml(
        n.loss,
        clip_norm(sgd(momentum=0.9), 0.01),
        dimension=n.dimension,
        inner_lr=0.1,
        meta_lr=0.05,
        beta=0.3,
        outer_scale="beta",
    ),
    "maml": lambda n: maml(n.loss, sgd(momentum=0.5), inner_lr=0.1, meta_lr=0.05),
    "fo-maml": lambda n: maml(n.loss, sgd(), inner_lr=0.1, meta_lr=0.05, order="first"),
}
"""Every algorithm, over a network."""


def arrays(draws: np.random.Generator, support: int = 4, query: int = 3, features: int = 2) -> Episode[Array]:
    """An episode of a regression to one number."""
    x, y = draws.normal(size=(support + query, features)), draws.normal(size=(support + query, 1))
    return episode_of(x[:support], y[:support], x[support:], y[support:])


def labelled(
    draws: np.random.Generator, classes: int = 3, support: int = 4, query: int = 3
) -> Episode[Array]:
    """An episode of a classification of two features."""
    y = draws.integers(0, classes, size=support + query)
    x = draws.normal(size=(support + query, 2)) + y[:, None]
    return episode_of(x[:support], y[:support], x[support:], y[support:])


def event(task: str, episode: Episode[Array], time_ms: int = 0) -> TaskEvent:
    """An event of a task."""
    return TaskEvent(task, episode, time_ms)


def stacked(*episodes: Episode[Tensor]) -> Episode[Tensor]:
    """Episodes of several tasks as one, with a leading task axis."""
    return Episode(
        *(
            Batch(torch.stack([b.x for b in batches]), torch.stack([b.y for b in batches]))
            for batches in zip(*episodes, strict=True)
        )
    )


class Halver(nn.Module):
    """A linear model that looks at its data: the branch depends on values."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Half of large inputs."""
        prediction: Tensor = self.layer(x / 2 if x.abs().max() > 5 else x)
        return prediction


class Bounded(nn.Module):
    """A linear model on a machine with memory for 8 examples at once."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The prediction, or the machine's error."""
        if x.shape[0] > 8:
            raise torch.OutOfMemoryError("out of memory")
        prediction: Tensor = self.layer(x)
        return prediction


class Tied(nn.Module):
    """Two layers that share their weight."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(2, 2), nn.Linear(2, 2)
        self.two.weight = self.one.weight

    def forward(self, x: Tensor) -> Tensor:
        """Both, one after the other."""
        prediction: Tensor = self.two(torch.tanh(self.one(x)))
        return prediction


def noisy() -> nn.Module:
    """A leaky unit whose slope is drawn anew at each call while training."""
    return nn.Sequential(nn.Linear(2, 3), nn.RReLU(), nn.Linear(3, 1))


def embedded() -> nn.Module:
    """A model of token numbers 0 to 4, two a row."""
    return nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(6, 1))


def settled() -> nn.Module:
    """A model with nothing to learn."""
    return nn.ReLU()


def lazy() -> str:
    """Not a model."""
    return "a model"


def probability_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """A loss that PyTorch itself refuses (RuntimeError) for targets outside [0, 1]."""
    return functional.binary_cross_entropy(torch.sigmoid(prediction), target)


def weighted_embedding_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """A loss that looks up a weight per target: an IndexError for targets beyond 2."""
    weights = torch.tensor([1.0, 2.0, 3.0], dtype=prediction.dtype)
    return (weights[target.long()] * (prediction - target) ** 2).mean()
