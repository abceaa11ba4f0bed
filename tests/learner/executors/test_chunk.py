"""One iteration in place: eager, around a graph, compiled."""

import pytest
import torch
from torch import Tensor

from streammeta.errors import ConfigError
from streammeta.learner.executors.chunk import CHUNK_TENSORS, NUMBERS, chunk_step, example_chunk, flat_step
from streammeta.learner.verification import Output, verify
from tests.learner.executors.conftest import Shared
from tests.learner.executors.steps import chunk_of, inputs_of, run_all, traced
from tests.networks import LEARNERS, network


@pytest.mark.parametrize("learner", ["moml", "moml-clipped", "maml"])
def test_a_chunk_is_its_events_one_by_one(learner: str) -> None:
    """Rows, visits, state and numbers are those of the plain update applied to one event after the other."""
    step = traced(learner)
    chunk = chunk_of(step)
    count = step.state_count
    before = [tensor.clone() for tensor in chunk]
    state, rows, visits = before[:count], before[count], before[count + 1]
    slots, arrays = before[count + 2], before[count + 3 : count + 7]
    lines = []
    for event, slot in enumerate(slots.tolist()):
        seen = (visits[slot : slot + 1] > 0).double()
        outputs = step.update(*state, rows[slot : slot + 1], seen, *(a[event : event + 1] for a in arrays))
        finite, _, *after = outputs
        state, rows[slot], info = after[:count], after[count][0], after[count + 1 :]
        visits[slot] += 1
        lines.append(torch.stack([finite.double(), *(column.reshape(()) for column in info)]))
    run_all(step, chunk)
    for expected, found in zip((*state, rows, visits), chunk[: count + 2], strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    torch.testing.assert_close(chunk[count + 7], torch.stack(lines), rtol=0, atol=0, equal_nan=True)


def test_a_step_that_is_not_finite_writes_its_numbers_alone() -> None:
    """State, rows and visits keep their bits; the column `finite` says 0, and 1 for the event after it."""
    step = traced()
    chunk, count = chunk_of(step), step.state_count
    chunk[count + 3][0, 0, 0] = torch.inf
    before = [tensor.clone() for tensor in chunk]
    chunk_step(step.update, count, *chunk, torch.tensor([0]))
    assert all(torch.equal(a, b) for a, b in zip(chunk[: count + 2], before, strict=False))
    chunk_step(step.update, count, *chunk, torch.tensor([1]))
    assert chunk[count + 7][:2, 0].tolist() == [0, 1]
    assert not torch.equal(chunk[0], before[0])


def test_a_state_may_hold_an_old_tensor_in_another_place() -> None:
    """An update that hands its old parameters on as another tensor gets the old ones, not the new."""

    def update(
        now: Tensor, _previous: Tensor, memory: Tensor, _seen: Tensor, *arrays: Tensor
    ) -> list[Tensor]:
        zero = arrays[0].new_zeros(1)
        return [zero.isfinite().all(), zero, now + 1, now, memory, zero, zero, zero, zero[0], zero[0], zero]

    one = torch.ones(1, 2)
    chunk = example_chunk(
        [torch.tensor([5.0]), torch.tensor([3.0]), one, one[:, 0], one, one, one, one], 2, None
    )
    chunk_step(update, 2, *chunk)
    assert [chunk[0].item(), chunk[1].item()] == [6.0, 5.0]


def test_batches_are_gathered_and_scattered() -> None:
    """Two tasks in one iteration: the same as the update of both, in the rows of both."""
    step = traced(batch=2)
    chunk = example_chunk(step.inputs, step.state_count, None)
    chunk_step(step.update, step.state_count, *chunk)
    _, _, *after = step.update(*step.inputs)
    rows = chunk[step.state_count]
    torch.testing.assert_close(rows[:2], after[step.state_count], rtol=0, atol=0)
    assert chunk[step.state_count + 1].tolist()[:2] == [2, 1]


def test_in_place_and_back() -> None:
    """`flat_step` gives what the update gives, and leaves its inputs alone."""
    step = traced("moml-clipped", batch=2)
    inputs = [tensor.clone() for tensor in step.inputs]
    found = flat_step(
        lambda chunk: chunk_step(step.update, step.state_count, *chunk), step.state_count, None
    )(*inputs)
    for one, other in zip(found, step.update(*step.inputs), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True, check_dtype=False)
    assert all(torch.equal(a, b) for a, b in zip(inputs, step.inputs, strict=True))


def test_compiled_learns_what_the_graph_learns(shared: Shared) -> None:
    """Whatever the number of tasks in the cache and of events in the chunk; to rounding."""
    for tasks, events in ((5, 9), (12, 4)):
        sizes = {"tasks": tasks, "events": events}
        plain = run_all(shared.step, chunk_of(shared.step, **sizes))
        compiled = run_all(shared.step, chunk_of(shared.step, **sizes), shared.compiled.run)
        for expected, found in zip(plain, compiled, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12, equal_nan=True)
        assert plain[0].sub(shared.step.inputs[0]).norm() > 0.01


@pytest.mark.parametrize("value", [torch.inf, torch.nan, -torch.inf])
def test_compiled_discards_what_is_not_finite(shared: Shared, value: float) -> None:
    """No compiler pass may take 'is it finite' for granted."""
    chunk, count = chunk_of(shared.step), shared.step.state_count
    chunk[count + 3][0, 0, 0] = value
    before = [tensor.clone() for tensor in chunk]
    shared.compiled.run([*chunk, torch.tensor([0])])
    assert all(torch.equal(a, b) for a, b in zip(chunk[: count + 2], before, strict=False))
    assert chunk[count + CHUNK_TENSORS - 1][0, 0] == 0


def test_compiled_writes_in_place(shared: Shared) -> None:
    """The rows of the other tasks are not touched, nor are the numbers of the other events."""
    chunk, count = chunk_of(shared.step), shared.step.state_count
    before = [tensor.clone() for tensor in chunk]
    addresses = [tensor.data_ptr() for tensor in chunk]
    shared.compiled.run([*chunk, torch.tensor([4])])
    slot = int(chunk[count + 2][4])
    changed = (chunk[count] != before[count]).any(1).nonzero().flatten().tolist()
    assert changed == [slot]
    assert (chunk[count + 7] != before[count + 7]).any(1).nonzero().flatten().tolist() == [4]
    assert addresses == [tensor.data_ptr() for tensor in chunk]


def test_inputs_are_no_trivial_case() -> None:
    """The comparisons above are of gradients that are not zero."""
    net = network()
    learner = LEARNERS["moml"](net)
    norm = traced().update(*inputs_of(net, learner))[-2]
    assert norm > 1e-3


def test_compiled_is_compared_with_the_plain_step(shared: Shared) -> None:
    """The comparison that every compiled step must pass takes this one, and no step that is a little off."""
    step, count = shared.step, shared.step.state_count
    moved = [Output(f"state {place}", place) for place in range(count + 1)]
    outputs = [Output("verdict"), Output("predictions"), *moved, *(Output(name) for name in NUMBERS[1:])]
    prediction = step.update(*step.inputs)[1]
    compiled = flat_step(shared.compiled.run, count, prediction)
    found = verify(step.update, compiled, step.inputs, outputs)
    assert found[0]

    def off(*inputs: Tensor) -> list[Tensor]:
        results = compiled(*inputs)
        return [*results[:2], results[2] + 1e-4 * (results[2] - inputs[0]), *results[3:]]

    with pytest.raises(ConfigError, match="state 0"):
        verify(step.update, off, step.inputs, outputs)
