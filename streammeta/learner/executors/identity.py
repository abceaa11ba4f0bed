"""What names a compiled step: all that its bits depend on.

    key   = SHA-256 of the graph and its constants, the shapes, torch, the processor, the threads
    name  = SHA-256 of key, form and compiler, its first 128 bits in hexadecimal

The key is known before anything is compiled, and where there is no compiler. The graph covers the model's
source, the loss, the algorithm and the optimiser: they are what it was made from. `Conditions` are for
people: they say why a step cannot be had.
"""

import hashlib
import platform
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

import torch
from torch import Tensor
from torch.fx import GraphModule

from streammeta.events import Conditions
from streammeta.learner.executors.forms import FORMS

BUILD: Final = 1
"""Raised when the same graph would be compiled to other code."""

NAME_DIGITS: Final = 32


def conditions_here(shapes: str = "", form: str = "", compiler: str = "") -> Conditions:
    """What this process compiles with."""
    return Conditions(
        shapes, form, compiler, torch.__version__, processor_in_short(), torch.get_num_threads()
    )


def key_of(update: GraphModule, inputs: Sequence[Tensor], state_count: int) -> str:
    """The key of this update's compiled step. About a millisecond a thousand operations."""
    digest = hashlib.sha256()
    shapes = [(tuple(tensor.shape), str(tensor.dtype)) for tensor in inputs]
    parts = (BUILD, torch.__version__, processor(), torch.get_num_threads(), state_count, shapes, update.code)
    for part in parts:
        digest.update(repr(part).encode())
    for node in update.graph.find_nodes(op="get_attr"):
        constant = (
            update.get_parameter(node.target) if node.target in dict(update.named_parameters()) else None
        )
        tensor = constant if constant is not None else getattr(update, str(node.target))
        digest.update(repr((node.target, tensor.shape, tensor.dtype)).encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def name_of(key: str, form: str, compiler: str) -> str:
    """The name of the step compiled in this form by this compiler."""
    return hashlib.sha256(f"{key} {form} {compiler}".encode()).hexdigest()[:NAME_DIGITS]


def form_named(name: str, key: str, compiler: str) -> str | None:
    """The form of which this is the name; None where key or compiler are not those it was made with."""
    return next((form for form in FORMS if name_of(key, form, compiler) == name), None)


@cache
def processor() -> str:
    """The processor with the instructions that it knows: code compiled for it may fail on another."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return " ".join((platform.machine(), torch.backends.cpu.get_cpu_capability(), *sorted(flags.split())))


def processor_in_short() -> str:
    """The same in a few words: its kind, its vector instructions, eight digits for the rest."""
    kind, capability, *_ = processor().split()
    digest = hashlib.sha256(processor().encode()).hexdigest()[:8]
    return f"{kind} {capability} {digest}"


def compiler_version() -> str | None:
    """The first line that the C++ compiler says of itself; None where there is none."""
    program = shutil.which("g++") or shutil.which("clang++")
    if program is None:
        return None
    try:
        said = subprocess.run(  # noqa: S603 (the compiler that torch is about to start)
            [program, "--version"], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return said.stdout.partition("\n")[0]
