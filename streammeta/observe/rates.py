"""Learning rates as a person wrote them: the learner computes with the nearest number of its own format."""

import numpy as np


def as_configured(rate: float) -> float:
    """The shortest decimal that is `rate` in 32 bits, where it is such a number; else `rate`.

    >>> as_configured(0.019999999552965164), as_configured(0.02)
    (0.02, 0.02)
    """
    with np.errstate(over="ignore"):
        narrow = np.float32(rate)
    return float(str(narrow)) if float(narrow) == rate else rate
