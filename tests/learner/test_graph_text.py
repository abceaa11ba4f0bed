"""A graph written and read again is the same graph."""

import json
from typing import Any

import pytest
import torch
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from streammeta.learner.graph_text import GraphText, graph_of, text_of
from tests.learner.executors.steps import inputs_of, traced
from tests.networks import LEARNERS, network


def again(graph: GraphModule) -> GraphModule:
    """The graph after it went through JSON."""
    text = text_of(graph)
    assert text is not None
    return graph_of(text._replace(nodes=json.loads(json.dumps(text.nodes))))


@pytest.mark.parametrize("name", sorted(LEARNERS))
def test_every_learners_step_is_read_as_it_was_written(name: str) -> None:
    """The same operations under the same names, so it is compiled to the same step; the same bits."""
    step = traced(name)
    read, net = again(step.update), network()
    assert read.code == step.update.code
    inputs = inputs_of(net, LEARNERS[name](net), seed=3)
    with torch.no_grad():
        for one, other in zip(step.update(*inputs), read(*inputs), strict=True):
            torch.testing.assert_close(other, one, rtol=0, atol=0, equal_nan=True)


def test_tensors_that_a_graph_holds_go_with_it() -> None:
    """A table of the model's that is no parameter."""
    table = torch.tensor([1.0, 1e-40, float("inf")])
    graph = make_fx(lambda x: x * table)(torch.ones(3))
    assert torch.equal(again(graph)(torch.full((3,), 2.0)), 2 * table)


def call(target: str, args: Any = ()) -> GraphText:
    """A graph of one call."""
    return GraphText([["call_function", "a", target, {"tuple": [*args]}, {"named": {}}]], {})


@pytest.mark.parametrize(
    "text",
    [
        call("os.system.now"),
        call("aten.add"),
        call("aten.no_such_operation.default"),
        call("aten.neg.default", [{"node": "b"}]),
        call("aten.neg.default", [{"torch": "load"}]),
        call("aten.neg.default", [{"what": 1}]),
        GraphText([["call_module", "a", "b", {"tuple": []}, {"named": {}}]], {}),
        GraphText([["get_attr", "a"]], {}),
    ],
)
def test_what_is_no_graph_is_refused(text: GraphText) -> None:
    """Neither an operation that is not torch's nor an argument that no graph has."""
    with pytest.raises(ValueError, match=r"graph|unpack"):
        graph_of(text)
