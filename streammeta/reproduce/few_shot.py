"""A classifier learned from a stream of episodes and scored on unseen tasks: what two experiments share."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from torch import Tensor

from streammeta.algorithms.base import MetaLearner, State
from streammeta.errors import StreammetaError
from streammeta.evaluation.unseen import Mean, Scores, evaluate
from streammeta.events import Array, Batch, Episode
from streammeta.learner.tracing import Steps
from streammeta.models.network import Network
from streammeta.reproduce.report import Curve, Measured

Stream = Iterator[tuple[str, Episode[Array]]]
"""Task ids and what an event brings of them."""

WINDOWS: Final = 40


class Learned(NamedTuple):
    """Where a run ended.

    Attributes:
        state: The learner's.
        losses: Query loss after adaptation of each event, before it was learned from.
    """

    state: State
    losses: list[float]


def learned(
    network: Network, learner: MetaLearner, stream: Stream, events: int, told: Callable[[int, int], None]
) -> Learned:
    """One meta-update an event, as the daemon does it, in memory.

    Raises:
        StreammetaError: an update is not finite; the rate is too large.
    """
    steps, state = Steps(learner, network), learner.init(network.initial)
    rows: dict[str, Tensor] = {}
    losses: list[float] = []
    nothing = network.initial.new_zeros(learner.memory_size)
    for done in range(1, events + 1):
        task, arrays = next(stream)
        memory, seen = rows.get(task, nothing)[None], network.initial.new_full((1,), task in rows)
        step = steps.step(state, memory, seen, alone(network.tensors(arrays)))
        if not step.finite:
            raise StreammetaError(f"the update of event {done} is not finite; take a smaller rate")
        state, rows[task] = step.state, step.memory[0]
        losses.append(step.info.loss_adapted.mean().item())
        if done % max(1, events // 100) == 0:
            told(done, events)
    return Learned(state, losses)


def scored(
    network: Network, learner: MetaLearner, state: State, episodes: Sequence[Episode[Array]]
) -> Scores:
    """Accuracy before and after adaptation; every episode begins at the same w, nothing is carried over."""
    return evaluate(network, learner, state, episodes)["accuracy"]


def interval(mean: Mean) -> Measured:
    """With the half width of its 95 % interval as the spread."""
    return Measured(mean.mean, mean.half_width)


def curve(label: str, losses: Sequence[float]) -> Curve:
    """Means over windows of events."""
    size = max(1, len(losses) // WINDOWS)
    windows = [losses[at : at + size] for at in range(0, len(losses) - size + 1, size)]
    ends = [float((index + 1) * size) for index in range(len(windows))]
    return Curve(label, ends, [sum(window) / size for window in windows])


def alone(episode: Episode[Tensor]) -> Episode[Tensor]:
    """With a leading task axis of one."""
    return Episode(*(Batch(*(tensor[None] for tensor in batch)) for batch in episode))
