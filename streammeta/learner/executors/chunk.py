"""One iteration out of a chunk of events: what is gathered, what is written, and in which order.

The same plain function runs eagerly, around a traced graph, and inside a compiled library.

Invariant: a step that is not finite writes its numbers (and predictions), nothing else.
"""

from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor

Update = Callable[..., list[Tensor]]
"""A flat step: (state…, memory (B, M), seen (B,), support x, support y, query x, query y) -> [finite (),
predictions (B, 3, query, …) or (0,), state…, memory (B, M), the six fields of `Info`]."""

NUMBERS: Final = (
    "finite",
    "loss_meta",
    "loss_adapted",
    "loss_memory",
    "gradient_norm",
    "update_norm",
    "tracking_error",
)
"""The columns of `numbers`: 1 where the step is finite, else 0; then the fields of `Info`."""

CHUNK_TENSORS: Final = 8
"""Rows, visits, slots, four arrays, numbers; beside the state's tensors, the predictions and the index."""


def chunk_step(update: Update, state_count: int, *flat: Tensor) -> None:
    """Learn from the B events at `index`, in place. Their tasks must differ.

    `flat`, in this order; C is the number of rows in the cache, N of events in the chunk:

        the state's tensors (`state_count` of them, in `state_tensors`' order)
        rows (C, M), visits (C,) int64, slots (N,) int64: the row of each event's task
        support x, support y, query x, query y (N, examples, …)
        numbers (N, len(NUMBERS)), and where the step predicts: predictions (N, 3, query, …)
        index (B,) int64

    No two may share memory. Costs the update, and one read and one write of a row; nothing grows with C or N.
    """
    state, index = flat[:state_count], flat[-1]
    rows, visits, slots, *arrays, numbers = flat[state_count : state_count + CHUNK_TENSORS]
    predicted = flat[state_count + CHUNK_TENSORS : -1]
    slot = slots[index]
    memory, before = rows[slot], visits[slot]
    outputs = update(*state, memory, (before > 0).to(memory.dtype), *(array[index] for array in arrays))
    finite, predictions, *after = outputs
    moved, info = after[state_count], after[state_count + 1 :]
    line = torch.stack([column.to(memory.dtype).expand(index.shape) for column in (finite, *info)], 1)
    # Every value before the first write: the next state may hold a tensor of this one in another place.
    kept = [torch.where(finite, new, old) for new, old in zip(after[:state_count], state, strict=True)]
    row, visit = torch.where(finite, moved, memory), before + finite.to(before.dtype)
    for old, new in zip(state, kept, strict=True):
        old.copy_(new)
    rows.index_put_((slot,), row)
    visits.index_put_((slot,), visit)
    numbers.index_put_((index,), line)
    for place in predicted:
        place.index_put_((index,), predictions)


def example_chunk(inputs: Sequence[Tensor], state_count: int, prediction: Tensor | None) -> list[Tensor]:
    """Tensors for `chunk_step` that hold one iteration: `inputs` are those of the update.

    The cache has two rows more than the chunk has events: sizes that are to vary must differ.
    """
    state, (memory, seen, *arrays) = inputs[:state_count], inputs[state_count:]
    batch = len(memory)
    tasks, events = batch + 3, batch + 1
    rows, visits = memory.new_zeros(tasks, memory.shape[1]), torch.zeros(tasks, dtype=torch.int64)
    rows[:batch], visits[:batch] = memory, (seen > 0).to(torch.int64)
    chunk = [rows, visits, torch.arange(events), *(_longer(array, events) for array in arrays)]
    chunk.append(memory.new_zeros(events, len(NUMBERS)))
    if prediction is not None:
        chunk.append(_longer(prediction, events))
    return [*(tensor.clone() for tensor in state), *chunk, torch.arange(batch)]


def flat_step(run: Callable[[list[Tensor]], object], state_count: int, prediction: Tensor | None) -> Update:
    """A step in place as one that leaves its inputs alone: for comparing it with the plain one.

    Where the step is not finite it gives the state and the memory that it was given.
    """

    def step(*inputs: Tensor) -> list[Tensor]:
        chunk = example_chunk(inputs, state_count, prediction)
        run(chunk)
        batch, memory = len(chunk[-1]), inputs[state_count]
        rows, numbers = chunk[state_count], chunk[state_count + CHUNK_TENSORS - 1]
        finite, *columns = numbers[:batch].unbind(1)
        # The norms are those of the iteration: a column holds them once for every event.
        info = [
            column[0] if name.endswith("_norm") else column
            for name, column in zip(NUMBERS[1:], columns, strict=True)
        ]
        predictions = chunk[-2][:batch] if prediction is not None else memory.new_zeros(0)
        return [finite[0] > 0, predictions, *chunk[:state_count], rows[:batch], *info]

    return step


def _longer(array: Tensor, events: int) -> Tensor:
    longer = array.new_zeros(events, *array.shape[1:])
    longer[: len(array)] = array
    return longer
