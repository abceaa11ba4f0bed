"""Why an update that is not finite was discarded, in words."""

from typing import Final

from torch import Tensor

NON_FINITE: Final = (
    "the update is not finite and was discarded; lower the learning rates or set outer.clip_norm"
)
NON_FINITE_INNER: Final = (
    "the adaptation to the task is not finite and the update was discarded; lower algorithm.inner_lr or set "
    "algorithm.inner_clip_norm"
)


def why_discarded(loss_meta: Tensor, loss_adapted: Tensor) -> str:
    """What to change: the inner step where a loss is finite before it and not after, else any rate."""
    overflowed = loss_meta.isfinite() & ~loss_adapted.isfinite()
    return NON_FINITE_INNER if overflowed.any() else NON_FINITE
