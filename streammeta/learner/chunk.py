"""A chunk: the events that are learned between two looks at anything else, in arrays by their shapes.

Events are cast to the model's numbers as they are placed; whether the numbers are finite is looked at once.
More events may be placed after some were learned.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streammeta.errors import BadEvent
from streammeta.events import Array, Batch, Episode, TaskEvent
from streammeta.learner.executors.chunk import NUMBERS
from streammeta.learner.shapes import check_classes
from streammeta.models.network import Network

FEWEST_ROWS: Final = 16
"""Rows of a group at first; they double when there are too few."""
MAX_GROUPS: Final = 16
"""Groups whose arrays are kept for the next chunk."""


@dataclass(slots=True, eq=False)
class Placed:
    """An event in its chunk: `place` is its row in the arrays of its group, `slot` that of its task."""

    event: TaskEvent
    group: "Group"
    place: int
    slot: int = -1


@dataclass(slots=True, eq=False)
class Group:
    """Events of equal shapes.

    Attributes:
        arrays: support x, support y, query x, query y; each with a leading axis for the events.
        tensors: The same memory as tensors.
        placed: The events, row by row.
        refused: Row -> why its numbers cannot be used.
        numbers: `NUMBERS` of each event.
        predictions: Of each event's query set, where steps predict and one did.
        slots: The row of each event's task, from `find` on.
        dtypes: Of `arrays`.
    """

    arrays: list[Array]
    tensors: list[Tensor]
    numbers: Tensor
    placed: list[Placed] = field(default_factory=list)
    refused: dict[int, BadEvent] = field(default_factory=dict)
    predictions: Tensor | None = None
    slots: Tensor = field(init=False)
    _slots: NDArray[np.int64] = field(init=False)
    """The same memory."""
    dtypes: tuple[np.dtype[Any], ...] = field(init=False)
    _late: tuple[list[Array], ...] = field(init=False)
    """Arrays of the last events, not yet in `arrays`."""
    _checked: int = field(init=False, default=0)
    """Rows whose numbers were looked at."""
    _found: int = field(init=False, default=0)
    """Rows whose slots are known."""
    _classified: int = field(init=False, default=0)
    """Rows whose class numbers were compared with the model's."""
    _seen: Array | None = field(init=False, default=None)
    """`numbers` where NumPy can read them: one number of a tensor takes 20 times as long."""

    def __post_init__(self) -> None:
        """Look at the numbers."""
        self._late = ([], [], [], [])
        self.dtypes = tuple(array.dtype for array in self.arrays)
        self._hold(np.zeros(len(self.arrays[0]), np.int64))
        self._look()

    def put(self, support_x: Array, support_y: Array, query_x: Array, query_y: Array) -> None:
        """Let the row of the event placed last hold these, which have the columns' dtypes: from `fill` on."""
        sx, sy, x, y = self._late
        sx.append(support_x)
        sy.append(support_y)
        x.append(query_x)
        y.append(query_y)

    def fill(self) -> None:
        """Copy what was put into the columns, all at once: a quarter of what copying each takes."""
        count, end = len(self._late[0]), len(self.placed)
        if count == 1:
            for column, late in zip(self.arrays, self._late, strict=True):
                column[end - 1] = late.pop()
            return
        for column, late in zip(self.arrays, self._late, strict=True):
            if late:
                rows = column[end - count : end]
                np.concatenate(late, out=rows.reshape(-1, *column.shape[2:]))
                late.clear()

    def infinite(self) -> list[int]:
        """The rows whose numbers are not finite, of those placed since the last time."""
        first, self._checked = self._checked, len(self.placed)
        late = [array[first : self._checked] for array in self.arrays if array.dtype.kind == "f"]
        # A search in the bytes takes half of the time of .all() on few rows.
        if not any(b"\0" in np.isfinite(array).tobytes() for array in late):
            return []
        sound = [np.isfinite(array).reshape(len(array), -1).all(axis=1) for array in late]
        return [first + row for row in np.flatnonzero(~np.logical_and.reduce(sound)).tolist()]

    def grow(self) -> None:
        """Twice as many rows."""
        self.fill()
        self.arrays = [np.concatenate([array, np.empty_like(array)]) for array in self.arrays]
        self.tensors = [torch.from_numpy(array) for array in self.arrays]
        self.numbers = torch.cat([self.numbers, torch.empty_like(self.numbers)])
        self._hold(np.concatenate([self._slots, np.zeros_like(self._slots)]))
        self._look()
        if self.predictions is not None:
            self.predictions = torch.cat([self.predictions, torch.empty_like(self.predictions)])

    def _hold(self, slots: NDArray[np.int64]) -> None:
        self._slots, self.slots = slots, torch.from_numpy(slots)

    def _look(self) -> None:
        self._seen = self.numbers.numpy() if self.numbers.device.type == "cpu" else None

    def predict(self, like: Tensor) -> Tensor:
        """Room for predictions like these, (…, 3, query, …), of all events."""
        self.predictions = like.new_empty(len(self.arrays[0]), *like.shape[1:])
        return self.predictions

    def clear(self) -> None:
        """The next event is the first."""
        self.placed, self.refused = [], {}
        self._checked = self._found = self._classified = 0
        for late in self._late:
            late.clear()

    def find(self, slots: Mapping[str, int]) -> None:
        """Know the slots of the tasks, of those placed since the last time."""
        late = self.placed[self._found :]
        for placed in late:
            placed.slot = slots[placed.event.task]
        if late:
            self._slots[self._found : len(self.placed)] = [placed.slot for placed in late]
            self._found = len(self.placed)

    def finite(self, place: int) -> bool:
        """Whether the step at this place was: what `NUMBERS` says first."""
        if self._seen is not None:
            return bool(self._seen[place, 0])
        return bool(self.numbers[place, 0].item())

    def numbers_of(self, place: int) -> list[float]:
        """`NUMBERS` of the event at this place."""
        seen = self.numbers if self._seen is None else self._seen
        numbers: list[float] = seen[place].tolist()
        return numbers

    def numbers_at(self, places: Sequence[int]) -> Array:
        """`NUMBERS` of the events at these places, a row each."""
        return self.numbers[places].cpu().numpy() if self._seen is None else self._seen[places]

    def refuse(self, places: Sequence[int]) -> None:
        """Raise why one of these cannot be used, if so it is."""
        for place in places:
            if place in self.refused:
                raise self.refused[place]

    def check_classes(self, classes: int) -> None:
        """Refuse the events that hold a class that the model does not know; each is looked at once."""
        first, count = self._classified, len(self.placed)
        if first == count:
            return
        self._classified = count
        for labels in (self.arrays[1][first:count], self.arrays[3][first:count]):
            flat = labels.reshape(count - first, -1)
            low, high = flat.min(1), flat.max(1)
            for place in np.flatnonzero((low < 0) | (high >= classes)).tolist():
                try:
                    check_classes(low[place], high[place], classes)
                except BadEvent as refusal:
                    self.refused.setdefault(first + place, refusal)

    def accuracies(self, places: Sequence[int]) -> Array:
        """Of classifiers: the share that each of these events' predictions has right; NaN for none."""
        if self.predictions is None:
            return np.full((len(places), 3), np.nan)
        labels, predicted = self.tensors[3][places], self.predictions[places]
        right = predicted.argmax(3).cpu() == labels[:, None]
        shares = right.to(predicted.dtype).flatten(2).mean(2)
        known = predicted.flatten(2).isfinite().all(2).cpu()
        return torch.where(known, shares.cpu(), torch.nan).numpy()

    def episodes(self, device: torch.device) -> Episode[Tensor]:
        """The events' sets."""
        sx, sy, x, y = (tensor.to(device) for tensor in self.tensors)
        return Episode(Batch(sx, sy), Batch(x, y))


class Chunk:
    """Events by their shapes."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._groups: dict[Hashable, Group] = {}
        self.bytes = 0

    def place(self, event: TaskEvent) -> Placed:
        """Add the event; refusals are found by `check`."""
        (sx, sy), (x, y) = event.episode
        # As `Network.shapes`, by which iterations are gathered, but cheaper.
        keeps = self._network.keeps_integers
        key = (
            (sx.shape, sy.shape, x.shape, y.shape),
            keeps and (sx.dtype.kind == "f", x.dtype.kind == "f"),
        )
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = self._group(event.episode)
        place = len(group.placed)
        if place == len(group.arrays[0]):
            group.grow()
        placed = Placed(event, group, place)
        if group.dtypes == (sx.dtype, sy.dtype, x.dtype, y.dtype):
            group.placed.append(placed)
            group.put(sx, sy, x, y)
        else:
            group.fill()
            group.placed.append(placed)
            self._put(group, place, (sx, sy, x, y))
        self.bytes += sx.nbytes + sy.nbytes + x.nbytes + y.nbytes
        return placed

    def groups(self) -> Iterator[Group]:
        """Those that hold events."""
        return (group for group in self._groups.values() if group.placed)

    def check(self) -> None:
        """Find the events whose numbers are not finite in the model's dtype; each is looked at once."""
        for group in self.groups():
            group.fill()
            for place in group.infinite():
                self._refuse(group, place)

    def clear(self) -> None:
        """Forget the events; arrays of the shapes that came last are kept for the next chunk."""
        for key, group in [*self._groups.items()]:
            if group.placed:
                group.clear()
                self._groups[key] = self._groups.pop(key)
        while len(self._groups) > MAX_GROUPS:
            del self._groups[next(iter(self._groups))]
        self.bytes = 0

    def _put(self, group: Group, place: int, arrays: Sequence[Array]) -> None:
        classes = self._network.takes_classes
        for column, (table, array) in enumerate(zip(group.arrays, arrays, strict=True)):
            if table.dtype == array.dtype:
                table[place] = array
            elif classes and column % 2:
                table[place] = self._classes(group, place, array)
            else:
                with np.errstate(over="ignore"):
                    table[place] = array

    def _classes(self, group: Group, place: int, labels: Array) -> Array | int:
        """Class numbers, 0 where they are refused."""
        try:
            return self._network.y_numbers(labels)
        except BadEvent:
            self._refuse(group, place)
            return 0

    def _refuse(self, group: Group, place: int) -> None:
        """Let the network say why; it casts once more, and finds what was found here."""
        try:
            self._network.tensors(group.placed[place].event.episode)
        except BadEvent as refusal:
            group.refused[place] = refusal

    def _group(self, episode: Episode[Array]) -> Group:
        real = np.dtype("float32" if self._network.dtype == torch.float32 else "float64")
        integer = np.dtype(np.int64)
        keeps, classes = self._network.keeps_integers, self._network.takes_classes
        arrays = []
        for x, y in episode:
            x_dtype = integer if keeps and x.dtype.kind != "f" else real
            arrays.append(np.empty((FEWEST_ROWS, *x.shape), x_dtype))
            arrays.append(np.empty((FEWEST_ROWS, *y.shape), integer if classes else real))
        numbers = torch.empty(
            (FEWEST_ROWS, len(NUMBERS)), dtype=self._network.dtype, device=self._network.device
        )
        return Group(arrays, [torch.from_numpy(array) for array in arrays], numbers)
