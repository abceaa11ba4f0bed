"""Why an iteration whose numbers are not finite is discarded, in words."""

from collections.abc import Sequence

from streammeta.algorithms.discarded import why_discarded
from streammeta.errors import BadEvent, Reason
from streammeta.learner.chunk import Group
from streammeta.learner.executors.chunk import NUMBERS


def discarded(group: Group, places: Sequence[int]) -> BadEvent:
    """The refusal of the events at these places of the chunk's group."""
    numbers = group.numbers[places].cpu()
    meta, adapted = (numbers[:, NUMBERS.index(name)] for name in ("loss_meta", "loss_adapted"))
    return BadEvent(Reason.NON_FINITE_UPDATE, why_discarded(meta, adapted), stage="step")
