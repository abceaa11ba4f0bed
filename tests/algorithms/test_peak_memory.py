"""Peak memory of one update against the number of inner steps and the width of activations (2.6 and 4.3)."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from streammeta.algorithms.base import MetaLearner
from streammeta.algorithms.fo_b_maml import fo_b_maml
from streammeta.algorithms.imaml import imaml
from streammeta.algorithms.memory_reduced import memory_reduced
from streammeta.algorithms.outer import sgd
from streammeta.algorithms.split import head_split
from streammeta.events import Batch, Episode
from streammeta.models.network import Network
from streammeta.reproduce.live_bytes import peak_bytes
from tests.algorithms.problems import generator
from tests.networks import network

F64 = torch.float64
EXAMPLES = 64
Build = Callable[[Network, int], MetaLearner]


def first_order(net: Network, steps: int) -> MetaLearner:
    """FO-B-MAML."""
    return fo_b_maml(net.loss, sgd(), inner_lr=0.01, meta_lr=0.1, inner_steps=steps, lambda_=1.0, nu=0.01)


def implicit(net: Network, steps: int) -> MetaLearner:
    """IMAML, with as many conjugate-gradient steps as inner ones."""
    return imaml(net.loss, sgd(), inner_lr=0.01, meta_lr=0.1, inner_steps=steps, lambda_=1.0, cg_steps=steps)


def reduced(net: Network, steps: int) -> MetaLearner:
    """Memory-reduced, with as many conjugate-gradient steps as inner ones."""
    return memory_reduced(
        net.loss,
        sgd(),
        split=head_split(net.layout),
        inner_lr=0.01,
        meta_lr=0.1,
        inner_steps=steps,
        cg_steps=steps,
        ridge=0.1,
    )


def episode_of(net: Network) -> Episode[Tensor]:
    """One task of 64 examples in each set."""
    draws = generator(1)
    x, y = (torch.randn(2, 1, EXAMPLES, 1, generator=draws, dtype=F64) for _ in range(2))
    assert net.loss(net.initial, x[0, 0], y[0, 0]) > 0.1
    return Episode(Batch(x[0], y[0]), Batch(x[1], y[1]))


def tanh_network(width: int) -> nn.Module:
    """Two hidden layers of this width."""
    return nn.Sequential(
        nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1)
    )


def made(width: int) -> Network:
    """The network of that width, 64 · width numbers an activation."""
    return network(f"{__name__}:tanh_network", {"width": width})


def update_peak(build: Build, net: Network, steps: int) -> int:
    """Bytes at the peak of one update."""
    learner, episode = build(net, steps), episode_of(net)
    state, memory = learner.init(net.initial), torch.zeros(1, learner.memory_size, dtype=F64)
    return peak_bytes(lambda: learner.update(state, memory, torch.zeros(1, dtype=F64), episode))


def unrolled_peak(net: Network, steps: int, *, head_only: bool = False) -> int:
    """Bytes at the peak of the meta-gradient by back-propagation through the inner loop (MAML, or ANIL)."""
    episode, split = episode_of(net), head_split(net.layout)
    support, query = (Batch(batch.x[0], batch.y[0]) for batch in episode)

    def gradient() -> Tensor:
        w = net.initial.clone().requires_grad_()
        body, inner = split.parts(w) if head_only else (None, w)
        whole = (lambda y: split.join(body, y)) if body is not None else (lambda y: y)
        for _ in range(steps):
            (slope,) = torch.autograd.grad(net.loss(whole(inner), *support), inner, create_graph=True)
            inner = inner - 0.01 * slope
        return torch.autograd.grad(net.loss(whole(inner), *query), w)[0]

    return peak_bytes(gradient)


@pytest.mark.parametrize("build", [first_order, implicit, reduced])
def test_peak_is_flat_in_the_number_of_inner_steps(build: Build) -> None:
    """Facts 2.6 and 4.3: 100 steps need not a byte more than 4; and the count is the same every time."""
    net = made(32)
    one, few, many = (update_peak(build, net, steps) for steps in (1, 4, 100))
    assert one > 10 * EXAMPLES * 32
    assert many == few == update_peak(build, net, 4)
    assert many < 1.15 * one


@pytest.mark.parametrize("head_only", [False, True])
def test_back_propagation_grows_linearly_with_them(*, head_only: bool) -> None:
    """Every further step of MAML or ANIL keeps its activations: the same bytes each."""
    net = made(32)
    peaks = [unrolled_peak(net, steps, head_only=head_only) for steps in (4, 8, 16)]
    assert peaks[2] - peaks[1] == pytest.approx(2 * (peaks[1] - peaks[0]), rel=0.05)
    assert peaks[2] > 2.5 * peaks[0]
    flat = update_peak(reduced if head_only else first_order, net, 16)
    assert peaks[2] > 2 * flat


def test_peak_against_the_width_of_activations() -> None:
    """Fact 2.6: each further unit of width costs MAML many times the bytes that it costs FO-B-MAML."""
    narrow, wide = made(16), made(48)
    grown = update_peak(first_order, wide, 10) - update_peak(first_order, narrow, 10)
    unrolled = unrolled_peak(wide, 10) - unrolled_peak(narrow, 10)
    assert grown > 0
    assert unrolled > 4 * grown
