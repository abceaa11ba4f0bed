"""A traced graph as JSON values and constants, and the graph made of them again without a trace.

Invariant: what is read names operations of torch, and runs none. The graph that is made again has the same
operations in the same order under the same names, or there is none.
"""

import operator
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node

_OPS: Final = ("call_function", "get_attr", "output", "placeholder")
_GETITEM: Final = "getitem"
_OF_TORCH: Final = (torch.dtype, torch.layout, torch.memory_format)


class GraphText(NamedTuple):
    """A graph.

    Attributes:
        nodes: (operation, name, target, arguments, named arguments) of each, as JSON values.
        constants: The tensors that it holds, by name.
    """

    nodes: list[Any]
    constants: dict[str, Tensor]


def text_of(graph: GraphModule) -> GraphText | None:
    """The graph as text; None where it holds what has no text."""
    try:
        text = GraphText([_node(node) for node in graph.graph.nodes], _constants(graph))
        return text if graph_of(text).code == graph.code else None
    except (TypeError, ValueError):
        return None


def graph_of(text: GraphText) -> GraphModule:
    """The graph of this text.

    Raises:
        ValueError: it is no such text.
    """
    graph, named = Graph(), dict[str, Node]()
    try:
        for op, name, target, args, kwargs in text.nodes:
            if op not in _OPS:
                raise ValueError(f"a graph has no operation {op!r}")
            found = _function(target) if op == "call_function" else target
            named[name] = graph.create_node(op, found, _read(args, named), _read(kwargs, named), name)
        return GraphModule(dict(text.constants), graph)
    except (TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise ValueError(f"no graph: {error}") from error


def _node(node: Node) -> list[Any]:
    """One node.

    Raises:
        TypeError, ValueError: it cannot be written.
    """
    if node.op not in _OPS:
        raise ValueError(f"a graph has no operation {node.op!r}")
    if node.op != "call_function":
        target = str(node.target)
    elif node.target is operator.getitem:
        target = _GETITEM
    elif isinstance(node.target, torch._ops.OpOverload):
        target = str(node.target)
    else:
        raise TypeError(f"{node.target} is no operation of torch")
    return [node.op, node.name, target, _value(node.args), _value(node.kwargs)]


def _constants(graph: GraphModule) -> dict[str, Tensor]:
    targets = sorted({str(node.target) for node in graph.graph.find_nodes(op="get_attr")})
    constants = {name: getattr(graph, name, None) for name in targets}
    tensors = {name: value for name, value in constants.items() if isinstance(value, Tensor)}
    if len(tensors) < len(constants):
        raise TypeError("the graph holds what is no tensor")
    return tensors


def _value(argument: Any) -> Any:
    """An argument as a JSON value: what JSON does not know is an object of one name."""
    match argument:
        case None | bool() | int() | float() | str():
            return argument
        case Node():
            return {"node": argument.name}
        case tuple():
            return {"tuple": [_value(part) for part in argument]}
        case list():
            return [_value(part) for part in argument]
        case torch.device():
            return {"device": str(argument)}
        case Mapping():
            return {"named": {str(name): _value(part) for name, part in argument.items()}}
    if isinstance(argument, _OF_TORCH):
        return {"torch": str(argument).removeprefix("torch.")}
    raise TypeError(f"{argument!r} cannot be written")


def _read(value: Any, nodes: Mapping[str, Node]) -> Any:
    """The argument of a JSON value."""
    if isinstance(value, list):
        return [_read(part, nodes) for part in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    match kind:
        case "node":
            return nodes[content]
        case "tuple":
            return tuple(_read(part, nodes) for part in content)
        case "device":
            return torch.device(content)
        case "named":
            return {name: _read(part, nodes) for name, part in content.items()}
        case "torch" if isinstance(found := getattr(torch, content), _OF_TORCH):
            return found
    raise ValueError(f"a graph has no argument {value!r}")


def _function(target: str) -> Any:
    if target == _GETITEM:
        return operator.getitem
    namespace, name, overload = target.split(".")
    found = getattr(getattr(getattr(torch.ops, namespace), name), overload)
    if not isinstance(found, torch._ops.OpOverload):
        raise TypeError(f"{target} is no operation of torch")
    return found
