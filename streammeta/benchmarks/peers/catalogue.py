"""The peers that this machine has, by name, and why the others are missing."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Final, NamedTuple

from streammeta.benchmarks.peers.cpp_moml import compiler, cpp_moml
from streammeta.benchmarks.peers.jax_moml import jax_moml, jax_scan
from streammeta.benchmarks.peers.numpy_moml import NumpyMoml
from streammeta.benchmarks.peers.problem import Event, Problem
from streammeta.benchmarks.peers.river_linear import river_linear
from streammeta.benchmarks.peers.torch_maml import autograd_maml, sgd_step
from streammeta.benchmarks.peers.torchopt_maml import TorchoptMaml

SCAN = 64
"""Events of one call of JAX's scan."""


class Peer(NamedTuple):
    """One way to learn from the events.

    Attributes:
        make: Prepares it for a problem.
        package: What it needs beside this project; "" for nothing.
        per_call: Events that one call takes.
    """

    make: Callable[[Problem], Event]
    package: str = ""
    per_call: int = 1


CPP: Final = "C++ by hand, MOML"

PEERS: dict[str, Peer] = {
    CPP: Peer(cpp_moml, "g++"),
    "NumPy by hand, MOML": Peer(NumpyMoml),
    "JAX jit, MOML": Peer(jax_moml, "jax"),
    f"JAX scan of {SCAN}, MOML": Peer(lambda made: jax_scan(made, SCAN), "jax", SCAN),
    "TorchOpt, MAML": Peer(TorchoptMaml, "torchopt"),
    "torch.autograd, MAML": Peer(autograd_maml),
    "torch, one SGD step": Peer(sgd_step),
    "River, linear, example by example": Peer(river_linear, "river"),
}


def why_missing(peer: Peer) -> str:
    """Why this machine cannot run it; "" where it can."""
    if peer.package == "g++":
        return "" if compiler() else "g++ is not installed"
    if peer.package and find_spec(peer.package) is None:
        return f"{peer.package} is not installed: pip install 'streammeta[bench]'"
    return ""
