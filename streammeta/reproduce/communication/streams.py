"""The streams that ranks share: sine waves and Omniglot, and tasks that none of them holds."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from streammeta.datasets.omniglot import Ways, omniglot, tasks_of
from streammeta.datasets.omniglot_data import load_drawings
from streammeta.datasets.sinusoid import Sinusoids, sinusoid
from streammeta.events import Array, Episode
from streammeta.models.network import Network
from streammeta.reproduce import omniglot as few_shot
from streammeta.reproduce.sinewave.experiment import network

TASKS: Final = 100
"""Sine waves that are learned from."""
UNSEEN: Final = 50
CHANNELS: Final = 4
SHOTS: Final = 1
"""Of Omniglot."""

Events = Iterator[tuple[str, Episode[Array]]]


@dataclass(frozen=True)
class Shared:
    """What ranks share.

    Attributes:
        tasks: Their ids; the rank of a task is its place here, modulo the ranks.
        stream: Events by seed, without end.
        unseen: What is judged on.
        inner_lr, meta_lr: α, η.
        steps: Of adaptation, where judged.
    """

    network: Network
    tasks: Sequence[str]
    stream: Callable[[int], Events]
    unseen: Sequence[Episode[Array]]
    inner_lr: float
    meta_lr: float
    steps: int


def sine_waves(seeds: int) -> Shared:
    """The tasks of `produce sinusoid`, ten shots; those judged on are of a seed that no stream has."""
    fresh = sinusoid(Sinusoids(tasks=UNSEEN, seed=seeds))
    return Shared(
        network(),
        [f"sinusoid/{number}" for number in range(TASKS)],
        lambda seed: sinusoid(Sinusoids(tasks=TASKS, seed=seed)),
        [episode for _, episode in islice(fresh, UNSEEN)],
        inner_lr=0.01,
        meta_lr=0.001,
        steps=10,
    )


def drawings(data: Path | None, channels: int = CHANNELS) -> Shared:
    """Five ways, one shot: learned from background alphabets, judged on evaluation alphabets.

    Raises:
        ConfigError: the drawings cannot be read.
    """
    background, evaluation = load_drawings(data, "background"), load_drawings(data, "evaluation")
    ways = Ways(few_shot.WAYS, SHOTS, few_shot.QUERY)
    return Shared(
        few_shot.network(channels, seed=0),
        [*tasks_of(background, few_shot.WAYS)],
        lambda seed: omniglot(background, Ways(few_shot.WAYS, SHOTS, few_shot.QUERY, seed)),
        [episode for _, episode in islice(omniglot(evaluation, ways), UNSEEN)],
        inner_lr=few_shot.INNER_LR,
        meta_lr=few_shot.META_LR,
        steps=few_shot.TEST_STEPS,
    )
