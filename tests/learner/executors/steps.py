"""A traced update for the tests of executors, put together without the learner's own tracing."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from streammeta.algorithms.base import MetaLearner, State
from streammeta.events import Batch, Episode
from streammeta.learner.executors.chunk import NUMBERS, chunk_step
from streammeta.learner.executors.process import TracedStep
from streammeta.learner.flat import read_state, state_tensors
from streammeta.models.network import Network
from tests.networks import LEARNERS, network

SUPPORT, QUERY = 4, 3


def update_of(
    learner: MetaLearner, like: State, predicts: Network | None = None
) -> Callable[..., list[Tensor]]:
    """The update over a flat list: is it finite, predictions at w where asked for, state, memory, info."""

    def update(*flat: Tensor) -> list[Tensor]:
        state, (memory, seen, *arrays) = read_state(like, list(flat))
        after, moved, info = learner.update(
            state, memory, seen, Episode(Batch(*arrays[:2]), Batch(*arrays[2:]))
        )
        kept = [*state_tensors(after), moved, info.loss_meta, info.loss_adapted, info.gradient_norm]
        finite = torch.stack([tensor.isfinite().all() for tensor in kept if tensor.numel()]).all()
        predictions = seen.new_zeros(0)
        if predicts is not None:
            at_meta = torch.stack([predicts.predict(state.params, x) for x in arrays[2]])
            predictions = torch.stack((at_meta, 2 * at_meta, 3 * at_meta), 1)
        return [finite, predictions, *state_tensors(after), moved, *info]

    return update


def inputs_of(net: Network, learner: MetaLearner, batch: int = 1, *, seed: int = 0) -> list[Tensor]:
    """A state, memories apart from it, half of the tasks seen, and data that no two entries share."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=net.dtype)

    seen = torch.arange(batch).add(1).remainder(2).to(net.dtype)
    size = learner.memory_size
    memory = net.initial[:size] + 0.1 * normal(batch, size)
    arrays = [normal(batch, count, size) for count in (SUPPORT, QUERY) for size in (2, 1)]
    return [*state_tensors(learner.init(net.initial)), memory, seen, *arrays]


def traced(name: str = "moml", batch: int = 1, *, predicts: bool = False) -> TracedStep:
    """The traced update of one learner of `tests.networks.LEARNERS`."""
    net = network()
    learner = LEARNERS[name](net)
    state = learner.init(net.initial)
    inputs = inputs_of(net, learner, batch)
    with torch.no_grad():
        graph = make_fx(torch.func.functionalize(update_of(learner, state, net if predicts else None)))(
            *inputs
        )
    return TracedStep(graph, inputs, len(state_tensors(state)), predicts)


def chunk_of(step: TracedStep, *, tasks: int = 5, events: int = 9, seed: int = 3) -> list[Tensor]:
    """A chunk of events of which tasks come back; without the index."""
    generator = torch.Generator().manual_seed(seed)
    net = network()
    state, arrays = list(step.inputs[: step.state_count]), step.inputs[step.state_count + 2 :]
    normal = [torch.randn(events, *a.shape[1:], generator=generator, dtype=a.dtype) for a in arrays]
    size = step.inputs[step.state_count].shape[1]
    noise = torch.randn(tasks, size, generator=generator, dtype=net.dtype)
    rows = net.initial[:size] + 0.1 * noise
    slots = torch.randint(0, tasks, (events,), generator=generator)
    visits, numbers = torch.arange(tasks) % 3, rows.new_zeros(events, len(NUMBERS))
    predictions = [rows.new_zeros(events, 3, *normal[3].shape[1:])] if step.predicts else []
    return [*(t.clone() for t in state), rows, visits, slots, *normal, numbers, *predictions]


def run_all(
    step: TracedStep, chunk: list[Tensor], run: Callable[[list[Tensor]], object] | None = None
) -> list[Tensor]:
    """The chunk after all its events, one by one."""
    for index in torch.arange(len(chunk[step.state_count + 2])).unsqueeze(1):
        if run is None:
            chunk_step(step.update, step.state_count, *chunk, index)
        else:
            run([*chunk, index])
    return chunk
