"""Which clients a round takes: a function of the seed, the round and their names."""

from collections.abc import Iterable

import numpy as np


def drawn(names: Iterable[str], fraction: float, seed: int, number: int) -> list[str]:
    """The clients of round `number`: so large a share of them, at least one, without replacement, sorted.

    >>> drawn(["d", "b", "c", "a"], 0.5, seed=0, number=3)
    ['b', 'd']
    >>> drawn(["b", "a"], 1.0, seed=0, number=3)
    ['a', 'b']
    """
    ordered = sorted(names)
    if fraction == 1 or not ordered:
        return ordered
    size = max(1, round(fraction * len(ordered)))
    random = np.random.default_rng([seed, number])
    return sorted(random.choice(ordered, size, replace=False).tolist())
