"""A step as one functional graph of ATen operations, and what no graph may hold.

Invariant: no operation writes into a tensor. Equal operations may be computed once only in such a graph: two
fresh tensors of zeros that are then filled in place are not one.
"""

from collections.abc import Callable
from typing import Final, TypeVar

import torch
from torch import Tensor
from torch._guards import TracingContext, tracing
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functionalize
from torch.fx import Graph, GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx

from streammeta.errors import ConfigError, OutOfMemory, StreammetaError
from streammeta.models.trial import advice
from streammeta.models.user_code import where

FlatStep = Callable[..., list[Tensor]]
"""An update over a flat list of tensors."""

Made = TypeVar("Made", GraphModule, list[Tensor])

_NO_ROOM: Final = (torch.OutOfMemoryError, MemoryError)
_NO_MEMORY: Final = "can't allocate memory"
"""What torch's CPU allocator says in a plain RuntimeError."""

_VALUE_TEXTS: Final = (
    "trying to get value out of a tracing tensor",
    "Cannot access data pointer of Tensor that doesn't have storage",
    "unallocated storage",
    "its data is not allocated yet",
)
"""What torch says, in plain RuntimeErrors, to code that takes a value out of a tensor: item, numpy, tolist,
torch.tensor."""

_OUTLIVES: Final = (
    "mutating a non-functional tensor with a functional tensor",
    "would mutate a captured Tensor",
)
"""What it says of a write into a tensor that was not made within the call."""

_SHAPED_BY_VALUES: Final = frozenset(
    {torch.ops.aten.nonzero, torch.ops.aten.masked_select, torch.ops.aten.unique_consecutive}
    | {torch.ops.aten._unique2, torch.ops.aten.unique_dim, torch.ops.aten.repeat_interleave}
    | {torch.ops.aten.bincount}
)

NO_VALUES: Final = (
    "neither the model nor the loss may branch on values (no `if` on a tensor, no .item(), no x[mask]); "
    "use torch.where"
)


def trace(step: FlatStep, inputs: list[Tensor]) -> FlatStep:
    """The step as one graph of ATen operations, common subexpressions computed once.

    A write in place becomes an operation that gives a new tensor, so that the same numbers come out.

    Raises:
        ConfigError: as `plain_trace`.
    """
    # The one home of this pass; torch is pinned to a minor. Imported here, for it brings what compiles steps:
    # a second and a half that a start without a trace saves.
    from torch._functorch.compile_utils import fx_graph_cse

    traced = plain_trace(step, inputs)
    graph = fx_graph_cse(traced.graph)
    graph.eliminate_dead_code()
    return GraphModule(traced, graph)


def plain_trace(step: FlatStep, inputs: list[Tensor]) -> GraphModule:
    """The step as one graph of ATen operations, in the order in which it runs them.

    Raises:
        ConfigError: the code fails, draws random numbers, or depends on values.
    """
    traced = _judged(lambda: _functional(step, inputs))
    _refuse_shapes(traced.graph)
    traced.graph.eliminate_dead_code()
    _refuse_operations(traced.graph)
    traced.recompile()
    return traced


def attempt(step: FlatStep, inputs: list[Tensor]) -> None:
    """Run the step for its faults alone, on blank data: what fails is no event's fault.

    Raises:
        ConfigError: the code fails.
    """
    _judged(lambda: step(*inputs))


def _judged(made: Callable[[], Made]) -> Made:
    try:
        return made()
    except (RuntimeError, TypeError, AttributeError, NameError) as error:
        raise _refusal(error) from error


def _functional(step: FlatStep, inputs: list[Tensor]) -> GraphModule:
    """The step's graph without writes.

    What torch computes as one operation of many (an LSTM) keeps its own writes in the first pass; a pass over
    the graph replaces them. One fake mode is there for the metadata of all nodes: where there is none, torch
    makes one for each, which takes two fifths of a trace.
    """
    with tracing(TracingContext(FakeTensorMode(allow_fallback_kernels=True))):
        traced: GraphModule = make_fx(functionalize(step))(*inputs)
        if any(_writes(node) for node in traced.graph.nodes):
            traced = make_fx(functionalize(traced))(*inputs)
        return traced


def _refusal(error: Exception) -> ConfigError:
    """Why the user's code cannot be learned, in its own words and at its own line.

    Raises:
        StreammetaError: the machine is to blame, not the code.
    """
    refuse_machine_fault(error)
    line = where(error)
    at = f" ({line})" if line else ""
    if any(text in str(error) for text in _VALUE_TEXTS):
        return ConfigError(
            f"model.factory, model.loss: the step cannot be traced{at}: {first_line(error)}\n{NO_VALUES}"
        )
    said = f"{type(error).__name__}: {first_line(error)}"
    if any(text in said for text in _OUTLIVES):
        said = "it writes in place into a tensor that outlives the call (a buffer, or what it was given)"
    return ConfigError(f"model.factory, model.loss: the code fails on any data{at}: {said}{advice(error)}")


def refuse_machine_fault(error: Exception) -> None:
    """Raise where the machine is to blame, neither the event nor the model.

    Raises:
        OutOfMemory: the event may be too large for it.
        StreammetaError: the device failed.
    """
    if isinstance(error, _NO_ROOM) or _NO_MEMORY in str(error):
        raise OutOfMemory(
            f"the machine cannot compute the step: {first_line(error)}; give it more memory, or lower "
            "events.max_examples so that large events become dead letters"
        ) from error
    if isinstance(error, torch.AcceleratorError):
        raise StreammetaError(f"the machine cannot compute the step: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """What it says, or its type where it says nothing."""
    return (str(error) or type(error).__name__).splitlines()[0]


def _refuse_operations(graph: Graph) -> None:
    for node in graph.nodes:
        if not isinstance(node.target, OpOverload):
            continue
        if torch.Tag.nondeterministic_seeded in node.target.tags:
            raise ConfigError(
                f"model.factory: the model draws random numbers ({node.target}), so a recovered run would "
                "differ; remove that layer or switch it off (dropout: p=0)"
            )
        if _writes(node):
            raise ConfigError(
                f"model.factory, model.loss: {node.target} writes into a tensor that outlives the call (a "
                "buffer, or what it was given); use the operation that gives a new tensor, or clone() first"
            )


def _refuse_shapes(graph: Graph) -> None:
    """Refuse shapes that depend on values, also where the code has read the shape alone."""
    for node in graph.nodes:
        if _shaped_by_values(node):
            raise ConfigError(
                f"model.factory, model.loss: the shape of what {node.target} gives depends on values\n"
                f"{NO_VALUES}"
            )


def _writes(node: Node) -> bool:
    return isinstance(node.target, OpOverload) and node.target._schema.is_mutable


def _shaped_by_values(node: Node) -> bool:
    """Whether another episode of the same shapes could give another shape."""
    target = node.target
    if not isinstance(target, OpOverload):
        return False
    if target.overloadpacket is torch.ops.aten.index:
        indices = [index for index in node.args[1] if isinstance(index, Node)]  # type: ignore[union-attr]  # a list, by its schema
        return any(_is_mask(index) for index in indices)
    return target.overloadpacket in _SHAPED_BY_VALUES


def _is_mask(index: Node) -> bool:
    meta = index.meta.get("tensor_meta")
    return meta is not None and meta.dtype in {torch.bool, torch.uint8}
