"""Peak memory of one meta-update against the number of inner steps and the width of the network.

Counted, not sampled: bytes of tensors alive at once in one eager update of one task of MNIST-1D with the
recipe's convolutional network, so that the figures are the same on every machine. K is the number of inner
steps, and of conjugate-gradient steps (N) where there are any.
Source of the claims: Yang, Ma, Yu, AAAI 2025, arXiv:2412.12030; Chayti, Jaggi 2024, arXiv:2409.03682.
"""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from streammeta.algorithms.outer import sgd
from streammeta.events import Batch, Episode
from streammeta.models.loading import load_network
from streammeta.models.network import Network
from streammeta.reproduce.learners import LEARNERS
from streammeta.reproduce.live_bytes import peak_bytes
from streammeta.reproduce.mnist1d_data import CLASSES, digits
from streammeta.reproduce.report import Curve, Measured, Panel, Progress, Report, Row

STEPS: Final = (1, 2, 4, 8, 16)
CHANNELS: Final = (10, 25, 50, 100, 250)
FIXED_STEPS, FIXED_CHANNELS = 5, 25
EXAMPLES_EACH: Final = 5
MIB: Final = 2**20


def memory(
    progress: Progress,
    *,
    methods: Sequence[str] = (*LEARNERS,),
    steps: Sequence[int] = STEPS,
    channels: Sequence[int] = CHANNELS,
) -> Report:
    """Measure each method at each K with 25 channels, and at each width with K = 5."""
    rows, by_steps, by_width = [], [], []
    for name in methods:
        progress(name, 0, 2)
        at_steps = [peak(name, k, FIXED_CHANNELS) / MIB for k in steps]
        progress(name, 1, 2)
        at_width = [peak(name, FIXED_STEPS, width) / MIB for width in channels]
        progress(name, 2, 2)
        further = 1024 * (at_steps[-1] - at_steps[-2]) / (steps[-1] - steps[-2])
        figures = (at_steps[0], at_steps[-1], further, at_width[-1])
        rows.append(Row(name, "", tuple(map(Measured, figures))))
        by_steps.append(Curve(name, list(steps), at_steps))
        by_width.append(Curve(name, list(channels), at_width))
    return Report(
        "memory",
        f"Peak memory of one meta-update, {CLASSES} classes × {EXAMPLES_EACH} examples in each set",
        (
            f"MiB, K = {steps[0]}",
            f"MiB, K = {steps[-1]}",
            "KiB a further step",
            f"MiB, {channels[-1]} channels, K = {FIXED_STEPS}",
        ),
        "nothing: counted, the same every time",
        rows,
        [
            Panel(f"{FIXED_CHANNELS} channels", "inner steps K", "peak, MiB", by_steps, "log", "log"),
            Panel(f"K = {FIXED_STEPS}", "channels", "peak, MiB", by_width, "log", "log"),
        ],
        (
            "published: memory-reduced needs less than half of its back-propagating rivals, flat in K and N; "
            "FO-B-MAML's is flat in K",
        ),
    )


def peak(method: str, inner_steps: int, channels: int) -> int:
    """Bytes at the peak of one update."""
    net = _network(channels)
    learner = LEARNERS[method](net, sgd(), 0.01, 0.1, inner_steps)
    state, memory = learner.init(net.initial), torch.zeros(1, learner.memory_size)
    episode = _episode()
    return peak_bytes(lambda: learner.update(state, memory, torch.zeros(1), episode))


def _network(channels: int) -> Network:
    return load_network(
        "streammeta.reproduce.mnist1d_data:conv1d",
        {"channels": channels},
        loss="cross_entropy",
        seed=0,
        dtype="float32",
        device="cpu",
    )


def _episode() -> Episode[Tensor]:
    """One task: all ten digits, in a support and a query set."""
    x, y = digits(2 * EXAMPLES_EACH, seed=0)
    x, y = x.reshape(CLASSES, 2, EXAMPLES_EACH, 1, -1), y.reshape(CLASSES, 2, EXAMPLES_EACH)
    sets = [
        Batch(torch.from_numpy(x[:, s]).flatten(0, 1)[None], torch.from_numpy(y[:, s]).flatten()[None])
        for s in (0, 1)
    ]
    return Episode(*sets)
