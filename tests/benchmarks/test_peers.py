"""The same event by other hands: NumPy, C++ and JAX agree with the learner, so equal things are timed."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from streammeta.algorithms.moml import moml
from streammeta.algorithms.outer import sgd
from streammeta.benchmarks.peers.cpp_moml import compiler, cpp_moml
from streammeta.benchmarks.peers.numpy_moml import NumpyMoml, gradient_of, hessian_of, loss_of
from streammeta.benchmarks.peers.problem import (
    ALPHA,
    BETA,
    DIMENSION,
    META_LR,
    MOMENTUM,
    Event,
    Problem,
    Reported,
    problem,
)
from streammeta.benchmarks.peers.torch_maml import autograd_maml, sgd_step, tensors
from streammeta.events import Batch, Episode
from streammeta.models.loading import load_network

EVENTS = 60


def learner_of(made: Problem, dtype: str) -> Event:
    """Our own learner, eager, on the same events."""
    network = load_network("streammeta.models:mlp", {}, loss="mse", seed=0, dtype=dtype, device="cpu")
    learner = moml(
        network.loss,
        sgd(momentum=MOMENTUM),
        dimension=DIMENSION,
        inner_lr=ALPHA,
        meta_lr=META_LR,
        beta=BETA,
    )
    state = learner.init(torch.from_numpy(made.initial.copy()).to(network.dtype))
    memories = torch.zeros(made.known, DIMENSION, dtype=network.dtype)
    seen = torch.zeros(made.known, dtype=network.dtype)

    def event(number: int) -> Reported:
        nonlocal state
        task = made.tasks[number]
        episode = Episode(
            *(Batch(*(a.to(network.dtype)[None] for a in b)) for b in tensors(made.episodes[number]))
        )
        state, moved, info = learner.update(state, memories[task : task + 1], seen[task : task + 1], episode)
        memories[task], seen[task] = moved[0], 1
        return Reported(*(float(value) for value in info))

    return event


def rows_of(event: Event) -> np.ndarray:
    """What each of the first events reported, (events, 6)."""
    return np.array([event(number) for number in range(EVENTS)], float)


def test_numpy_and_the_learner_agree_in_float64() -> None:
    """Every loss and norm of 60 events, to rounding."""
    made = problem(EVENTS)
    np.testing.assert_allclose(
        rows_of(NumpyMoml(made, "float64")), rows_of(learner_of(made, "float64")), rtol=1e-10
    )


@pytest.mark.parametrize("peer", ["cpp", "jax"])
def test_compiled_peers_agree_with_numpy(peer: str) -> None:
    """In float32, to what a chaotic path leaves of its rounding after 60 events."""
    made = problem(EVENTS)
    np.testing.assert_allclose(rows_of(_made(peer)(made)), rows_of(NumpyMoml(made)), rtol=2e-3, atol=1e-5)


def test_the_hand_derived_gradient_and_hessian_are_those_of_the_loss() -> None:
    """Central differences in float64, along random directions."""
    made, random = problem(1), np.random.default_rng(3)
    w, batch = made.initial.astype("float64"), made.episodes[0].support
    batch = Batch(batch.x.astype("float64"), batch.y.astype("float64"))
    gradient, tape = gradient_of(w, batch)
    along, small = random.normal(size=DIMENSION), 1e-6
    slope = (loss_of(w + small * along, batch) - loss_of(w - small * along, batch)) / (2 * small)
    assert math.isclose(gradient @ along, slope, rel_tol=1e-7)
    ahead, behind = (gradient_of(w + sign * small * along, batch)[0] for sign in (1, -1))
    curved = hessian_of(w, tape, along)
    assert np.abs(curved).max() > 0.1
    np.testing.assert_allclose(curved, (ahead - behind) / (2 * small), rtol=1e-5, atol=1e-6)


def test_peers_that_are_no_moml_learn() -> None:
    """MAML by autograd and plain training: the loss of the last events is below that of the first."""
    made = problem(256, known=1)
    for peer in (autograd_maml, sgd_step):
        event = peer(made)
        losses = [float(event(number)) for number in range(256)]
        assert np.mean(losses[-50:]) < 0.9 * np.mean(losses[:50])


def test_torchopt_is_the_same_maml_as_autograd() -> None:
    """Query losses of 60 events, to float32."""
    pytest.importorskip("torchopt", reason="TorchOpt is not installed (extra bench)")
    from streammeta.benchmarks.peers.torchopt_maml import TorchoptMaml

    made = problem(EVENTS)
    one, other = TorchoptMaml(made), autograd_maml(made)
    for number in range(EVENTS):
        assert math.isclose(one(number), other(number), rel_tol=1e-3)


def _made(peer: str) -> Callable[[Problem], Event]:
    if peer == "cpp":
        if compiler() is None:
            pytest.skip("g++ is not installed")
        return cpp_moml
    pytest.importorskip("jax", reason="JAX is not installed (extra bench)")
    from streammeta.benchmarks.peers.jax_moml import jax_moml

    return jax_moml
