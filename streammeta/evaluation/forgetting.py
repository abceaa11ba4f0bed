"""Does a task forget? Its parameters, judged again on query sets that it saw before.

A bounded sample of a task's own query sets is kept, each with the loss that the task's parameters had right
after it was learned from: a reservoir, in which every visit is as likely as any other (Vitter 1985). Which
visits stay follows from the task's id and the visit's number alone, so a replay keeps the same ones.
"""

import hashlib
from typing import NamedTuple

from streammeta.events import Array, Batch


class Sample(NamedTuple):
    """A query set in the model's numbers, and its loss right after it was learned from."""

    query: Batch[Array]
    loss: float


Samples = tuple[Sample, ...]


class Recalled(NamedTuple):
    """One earlier query set judged again.

    Attributes:
        loss: At the task's parameters of now, before the event at hand.
        forgetting: That loss less the one right after the set was learned from; above 0, it was forgotten.
    """

    loss: float = float("nan")
    forgetting: float = float("nan")


def kept(samples: Samples, new: Sample, task: str, visit: int, size: int) -> Samples:
    """The reservoir of up to `size` after the task's visit number `visit`, counted from 1.

    >>> blank = [Sample(Batch(None, None), float(visit)) for visit in range(1, 30)]
    >>> samples = ()
    >>> for visit, sample in enumerate(blank, 1):
    ...     samples = kept(samples, sample, "a", visit, 3)
    >>> len(samples), {sample.loss for sample in samples} == {1.0, 2.0, 3.0}
    (3, False)
    """
    if len(samples) < size:
        return (*samples, new)
    digest = hashlib.blake2b(f"{task}\0{visit}".encode(), digest_size=8).digest()
    place = int.from_bytes(digest, "little") % visit
    return samples if place >= size else (*samples[:place], new, *samples[place + 1 :])
