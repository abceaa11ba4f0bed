"""How well a meta-model takes to tasks it has never seen: before and after one inner adaptation."""

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from streammeta.algorithms.base import MetaLearner, State
from streammeta.events import Array, Batch, Episode
from streammeta.models.losses import accuracy
from streammeta.models.network import Network


class Mean(NamedTuple):
    """A mean over episodes with the half width of its 95 % confidence interval."""

    mean: float
    half_width: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Mean":
        """1.96 standard errors; needs two values.

        >>> round(Mean.of([0.0, 1.0, 0.0, 1.0]).half_width, 3)
        0.566
        """
        return cls(statistics.fmean(values), 1.96 * statistics.stdev(values) / math.sqrt(len(values)))


class Scores(NamedTuple):
    """Query scores at the meta-parameters and after adaptation to the support set."""

    before: Mean
    after: Mean


def evaluate(
    network: Network, learner: MetaLearner, state: State, episodes: Iterable[Episode[Array]]
) -> dict[str, Scores]:
    """Mean query loss over episodes, and accuracy for classifiers; nothing is learned from them.

    Args:
        network: Model and loss.
        learner: How it adapts.
        state: Where from.
        episodes: At least two.
    """
    before, after = [], []
    for arrays in episodes:
        episode = network.tensors(arrays)
        adapted = learner.adapt(state, episode.support)
        before.append(_scores(network, state.params, episode.query))
        after.append(_scores(network, adapted, episode.query))
    return {
        name: Scores(Mean.of([s[name] for s in before]), Mean.of([s[name] for s in after]))
        for name in before[0]
    }


def _scores(network: Network, params: Tensor, batch: Batch[Tensor]) -> dict[str, float]:
    with torch.no_grad():
        prediction = network.predict(params, batch.x)
        scores = {"loss": network.loss_of(prediction, batch.y).item()}
        if network.takes_classes:
            scores["accuracy"] = accuracy(prediction, batch.y).item()
    return scores
