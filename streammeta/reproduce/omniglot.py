"""Omniglot, 5 ways, 1 and 5 shots: learned from background alphabets, scored on evaluation alphabets.

One meta-update an event, as the daemon learns; a task is a fixed group of five characters. Every test episode
begins at the learned parameters, which the public code of the MOML paper forgets; its table is no reference.
The published figures are those of MAML after 60,000 iterations of 32 tasks each, on random characters of all
alphabets with rotated ones beside them: an easier test after a thousand times the data.
Source: Finn, Abbeel, Levine 2017, arXiv:1703.03400, table 1. [recalled]
"""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

import torch

from streammeta.algorithms.outer import adam
from streammeta.algorithms.steps import adapt
from streammeta.datasets.omniglot import Ways
from streammeta.datasets.omniglot import omniglot as events_of
from streammeta.datasets.omniglot_data import load_drawings
from streammeta.models.loading import load_network
from streammeta.models.network import Network
from streammeta.reproduce.few_shot import curve, interval, learned, scored
from streammeta.reproduce.learners import LEARNERS
from streammeta.reproduce.report import Measured, Panel, Progress, Report, Row

METHODS: Final = ("maml", "fo_maml", "moml")
SHOTS: Final = (1, 5)
EVENTS: Final = 2000
EPISODES: Final = 600
CHANNELS: Final = 16
WAYS, QUERY = 5, 5
INNER_LR, META_LR = 0.4, 0.001
TEST_STEPS: Final = 3
PUBLISHED: Final[Mapping[tuple[str, int], Measured]] = {
    ("maml", 1): Measured(0.987, 0.004),
    ("maml", 5): Measured(0.999, 0.001),
}


def omniglot(
    progress: Progress,
    *,
    data: Path | None = None,
    methods: Sequence[str] = METHODS,
    shots: Sequence[int] = SHOTS,
    events: int = EVENTS,
    episodes: int = EPISODES,
    channels: int = CHANNELS,
    seed: int = 0,
) -> Report:
    """Learn and score each method at each number of shots.

    Raises:
        ConfigError: the drawings cannot be read, or are too few.
    """
    torch.set_num_threads(1)
    background, evaluation = load_drawings(data, "background"), load_drawings(data, "evaluation")
    net = network(channels, seed)
    rows, panels = [], []
    for k in shots:
        ways = Ways(WAYS, k, QUERY, seed)
        test = [episode for _, episode in islice(events_of(evaluation, ways), episodes)]
        curves = []
        for name in methods:
            learner = LEARNERS[name](net, adam(), INNER_LR, META_LR, 1)
            label = f"{name}, {k}-shot"
            done = learned(net, learner, events_of(background, ways), events, partial(progress, label))
            tested = learner._replace(adapt=adapt(net.loss, TEST_STEPS))
            scores = scored(net, tested, done.state, test)
            figures = (interval(scores.after), interval(scores.before))
            rows.append(Row(name, f"{WAYS}-way {k}-shot", figures, PUBLISHED.get((name, k))))
            curves.append(curve(name, done.losses))
        panels.append(Panel(f"{k}-shot", "events", "query loss after one step", curves))
    return Report(
        "omniglot",
        f"Omniglot, {WAYS}-way, conv4 with {channels} channels, {events:,} events",
        (f"accuracy, {TEST_STEPS} steps", "before"),
        f"95 % over {episodes} episodes of evaluation alphabets",
        rows,
        panels,
        ("published: MAML after 60,000 iterations of 32 tasks, on an easier split [recalled]",),
    )


def network(channels: int, seed: int) -> Network:
    """The network of the few-shot papers, narrower."""
    return load_network(
        "streammeta.models:conv4",
        {"ways": WAYS, "channels": channels},
        loss="cross_entropy",
        seed=seed,
        dtype="float32",
        device="cpu",
    )
