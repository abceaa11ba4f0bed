"""Drift at work: the losses of each task, and of the stream, folded in the order of the events.

A task's series changes with its visit, before any later event is learned, so that the visit after a detection
counts as a first one wherever the stream is cut.
"""

from streammeta.evaluation.drift import BEGUN, Detection, Series, Settings, folded
from streammeta.learner.chunk import Placed
from streammeta.learner.executors.chunk import NUMBERS
from streammeta.learner.folding import Means, Numbers
from streammeta.state.memories import Memories


class Drifting:
    """Looks for drift, and restarts memories where the settings say so."""

    def __init__(self, settings: Settings, memories: Memories, *, at_memory: bool) -> None:
        """`at_memory`: tasks have parameters of their own, and the losses there count; else those adapted."""
        self._settings = settings
        self._memories = memories
        loss = "memory" if at_memory else "adapted"
        self._number, self._judged = NUMBERS.index(f"loss_{loss}"), Means._fields.index(loss)

    def visited(self, placed: Placed, event: int) -> Detection | None:
        """Fold the loss of an event that was just learned, the `event`-th of the stream; 5 µs."""
        memories, slot = self._memories, placed.slot
        before = memories.stats.drift.get(slot, BEGUN)
        loss = placed.group.numbers_of(placed.place)[self._number]
        after = folded(before, loss, event, self._settings)
        if after is not BEGUN:
            memories.stats.drift[slot] = after
        if after.detections == before.detections:
            return None
        if self._settings.restart:
            memories.begin_anew(slot)
        return Detection(placed.event.task, event, after.loss_before, after.loss_after)

    def of_stream(self, series: Series, judged: Numbers, first_event: int) -> tuple[Series, list[Detection]]:
        """The stream's series after these events, columns as `Means`, and where it got worse."""
        found = []
        for event, loss in enumerate(judged[:, self._judged].tolist(), first_event):
            before, series = series, folded(series, loss, event, self._settings)
            if series.detections > before.detections:
                found.append(Detection("", event, series.loss_before, series.loss_after))
        return series, found
