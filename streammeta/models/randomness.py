"""The process's three random generators: torch's, NumPy's and Python's."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def kept_randomness() -> Iterator[None]:
    """Leave the generators as they were found."""
    legacy, plain = np.random.get_state(), random.getstate()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        np.random.set_state(legacy)
        random.setstate(plain)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the three generators, and leave them as they were found."""
    with kept_randomness():
        torch.manual_seed(seed)
        np.random.seed([seed & 0xFFFFFFFF, seed >> 32])
        random.seed(seed)
        yield


def drawn() -> dict[str, bytes]:
    """Where each generator stands: two of these differ where something was drawn between them."""
    legacy = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "NumPy": repr((legacy[1].tobytes(), legacy[2:])).encode(),  # type: ignore[index]  # a tuple, as asked
        "random": repr(random.getstate()).encode(),
    }
