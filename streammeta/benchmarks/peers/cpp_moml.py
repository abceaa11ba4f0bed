"""The MOML event by hand in C++ (`moml.cpp`), compiled by g++ for this machine: the limit."""

import ctypes
import math
import shutil
import subprocess
import tempfile
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

import numpy as np

from streammeta.benchmarks.peers.problem import (
    ALPHA,
    BETA,
    DIMENSION,
    META_LR,
    MOMENTUM,
    Event,
    Problem,
    Reported,
)
from streammeta.events import Array

FLAGS: Final = ("-O3", "-march=native", "-ffast-math", "-fPIC")


def compiler() -> str | None:
    """The C++ compiler's path; None where there is none."""
    return shutil.which("g++")


def cpp_moml(made: Problem) -> Event:
    """An event a call through ctypes; pointers are made before the clock runs."""
    learn = _library().moml_event
    params, momentum = made.initial.copy(), np.zeros(DIMENSION, np.float32)
    memories = np.zeros((made.known, DIMENSION), np.float32)
    seen = np.zeros(made.known, np.uint8)
    rates = np.array([ALPHA, BETA, META_LR, MOMENTUM], np.float32)
    reported = np.zeros(6, np.float32)
    pieces = [[np.ascontiguousarray(a) for batch in e for a in batch] for e in made.episodes]
    state = _pointers(params, momentum)
    tasks = [_pointers(memory, seen[task : task + 1]) for task, memory in enumerate(memories)]
    data = [_pointers(*arrays) for arrays in pieces]
    fixed, told = _pointers(rates), _pointers(reported)
    kept = params, momentum, memories, seen, rates, reported, pieces  # the pointers do not keep them alive

    def event(number: int) -> Reported:
        task = made.tasks[number]
        known = kept[3][task]
        learn(*state, *tasks[task], *fixed, *data[number], *told)
        one = Reported(*reported.tolist())
        return one if known else one._replace(loss_memory=math.nan)

    return event


def _library() -> Any:
    with tempfile.TemporaryDirectory() as folder, as_file(files(__package__) / "moml.cpp") as source:
        compiled, library = Path(folder) / "moml.o", Path(folder) / "moml.so"
        _run(*FLAGS, "-c", str(source), "-o", str(compiled))
        # Linked without -ffast-math, which would let the whole process flush small numbers to zero.
        _run("-shared", str(compiled), "-o", str(library))
        return ctypes.CDLL(str(library))


def _run(*arguments: str) -> None:
    subprocess.run([compiler() or "g++", *arguments], check=True)  # noqa: S603 (our source, this compiler)


def _pointers(*arrays: Array) -> list[ctypes.c_void_p]:
    return [ctypes.c_void_p(array.ctypes.data) for array in arrays]
