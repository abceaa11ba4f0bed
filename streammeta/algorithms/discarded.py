"""Why an update that is not finite was discarded, in words."""

from typing import Final

from streammeta.algorithms.base import Info

NON_FINITE: Final = (
    "the update is not finite and was discarded; lower the learning rates or set outer.clip_norm"
)
NON_FINITE_INNER: Final = (
    "the adaptation to the task is not finite and the update was discarded; lower algorithm.inner_lr or set "
    "algorithm.inner_clip_norm"
)
NON_FINITE_LOSS: Final = (
    "the loss on this record is not finite before anything is learned from it, and the update was discarded; "
    "see that the model and the loss are defined there (log, sqrt, division); where losses grew before, "
    "lower the learning rates"
)


def why_discarded(info: Info) -> str:
    """What to change: the loss where it is never finite, the inner step where it is before, else any rate."""
    if not info.loss_meta.isfinite().all():
        return NON_FINITE_LOSS
    overflowed = info.loss_meta.isfinite() & ~info.loss_adapted.isfinite()
    return NON_FINITE_INNER if overflowed.any() else NON_FINITE
