"""Few-shot MNIST-1D: every algorithm that adapts, its accuracy on unseen tasks and the memory of its update.

A task is five of the ten digits under labels of its own: the same digit is class 0 here and class 3 there, so
that nothing but adaptation to the support set can tell. 100 tasks to learn from, others to be scored on,
with other examples. The network is the recipe's, 25 channels.
Source: Greydanus 2020, arXiv:2011.14439, for the data; the choice of tasks is ours, and no figure is
published.
"""

from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import Final

import numpy as np
import torch

from streammeta.algorithms.outer import adam
from streammeta.events import Array, Batch, Episode
from streammeta.models.loading import load_network
from streammeta.models.network import Network
from streammeta.reproduce.few_shot import Stream, alone, curve, interval, learned, scored
from streammeta.reproduce.learners import LEARNERS
from streammeta.reproduce.live_bytes import peak_bytes
from streammeta.reproduce.mnist1d_data import CLASSES, Digits, digits
from streammeta.reproduce.report import Measured, Panel, Progress, Report, Row

WAYS, SHOTS, QUERY = 5, 10, 10
TASKS: Final = 100
EVENTS: Final = 3000
EPISODES: Final = 300
CHANNELS: Final = 25
EXAMPLES_EACH: Final = 400
META_LR: Final = {"memory_reduced": 0.0001}
"""η of Adam where it is not `USUAL_META_LR`: at 0.001 features grow until the heads' steps diverge."""
USUAL_META_LR: Final = 0.001
INNER: Final = {"imaml": (0.1, 10), "fo_b_maml": (0.1, 10), "memory_reduced": (0.05, 20)}
"""α and K of the methods that solve their inner problem; the others take `STEPS`."""
STEPS: Final = (0.1, 5)
MIB: Final = 2**20


def mnist1d(
    progress: Progress,
    *,
    methods: Sequence[str] = (*LEARNERS,),
    events: int = EVENTS,
    episodes: int = EPISODES,
    channels: int = CHANNELS,
    seed: int = 0,
) -> Report:
    """Learn and score each method."""
    torch.set_num_threads(1)
    train, test = digits(EXAMPLES_EACH, 2 * seed), digits(EXAMPLES_EACH, 2 * seed + 1)
    unseen = [episode for _, episode in islice(stream(test, None, seed), episodes)]
    net, rows, curves = network(channels, seed), [], []
    for name in methods:
        inner_lr, inner_steps = INNER.get(name, STEPS)
        meta_lr = META_LR.get(name, USUAL_META_LR)
        learner = LEARNERS[name](net, adam(), inner_lr, meta_lr, inner_steps)
        done = learned(net, learner, stream(train, TASKS, seed), events, partial(progress, name))
        scores = scored(net, learner, done.state, unseen)
        empty, one = torch.zeros(1, learner.memory_size), alone(net.tensors(unseen[0]))
        bytes_ = peak_bytes(partial(learner.update, done.state, empty, torch.zeros(1), one))
        figures = (interval(scores.after), interval(scores.before), Measured(bytes_ / MIB))
        rows.append(Row(name, f"{inner_steps} steps of {inner_lr}", figures))
        curves.append(curve(name, done.losses))
    return Report(
        "mnist1d",
        f"MNIST-1D, {WAYS}-way {SHOTS}-shot, {channels} channels, {events:,} events",
        ("accuracy, adapted", "before", "MiB, update"),
        f"95 % over {episodes} unseen tasks",
        rows,
        [Panel("before an event is learned from", "events", "query loss after adaptation", curves)],
        ("moml takes one inner step whatever the setting",),
    )


def stream(examples: Digits, tasks: int | None, seed: int) -> Stream:
    """Events of as many tasks that come again, or of ever new ones."""
    random = np.random.default_rng([seed, tasks or 0])
    known = [random.permutation(CLASSES)[:WAYS] for _ in range(tasks or 0)]
    while True:
        number = int(random.integers(tasks)) if tasks else 0
        chosen = known[number] if tasks else random.permutation(CLASSES)[:WAYS]
        yield str(number), _episode(examples, chosen, random)


def network(channels: int, seed: int) -> Network:
    """The recipe's, with as many outputs as a task has classes."""
    return load_network(
        "streammeta.reproduce.mnist1d_data:conv1d",
        {"channels": channels, "ways": WAYS},
        loss="cross_entropy",
        seed=seed,
        dtype="float32",
        device="cpu",
    )


def _episode(examples: Digits, chosen: Array, random: np.random.Generator) -> Episode[Array]:
    """Digit `chosen[c]` is class c; no example is in both sets."""
    of_digit = examples.x.reshape(CLASSES, -1, examples.x.shape[1])
    drawn = np.stack([random.permutation(of_digit.shape[1])[: SHOTS + QUERY] for _ in chosen])
    x = of_digit[chosen[:, None], drawn]
    return Episode(_batch(x[:, :SHOTS]), _batch(x[:, SHOTS:]))


def _batch(x: Array) -> Batch[Array]:
    ways, each = x.shape[:2]
    return Batch(x.reshape(ways * each, 1, -1), np.repeat(np.arange(ways), each))
