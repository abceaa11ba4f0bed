"""A step that is ready to run, what it gives, and where its trace is kept between processes."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor
from torch.fx import GraphModule

from streammeta.algorithms.base import Info, State
from streammeta.learner.flat import Signature
from streammeta.learner.graphs import FlatStep


@dataclass(slots=True)
class Prepared:
    """A step for one signature.

    Attributes:
        run: The step.
        trusted: Whether it was compared with the plain step.
        classes: How many classes the model tells apart (0: not a classifier).
    """

    run: FlatStep
    classes: int
    trusted: bool


class Stepped(NamedTuple):
    """What a step gives.

    Attributes:
        state, memory, info: As `learner.update` returns them.
        finite: Whether all that is to be kept is.
        predictions: Of the query sets before they were learned from, (B, 3, examples, …): at w, after one
            adaptation, at the task's memory (NaN where there is none); None unless asked for.
    """

    state: State
    memory: Tensor
    info: Info
    finite: bool
    predictions: Tensor | None


class Kept(Protocol):
    """Traces of this learner that earlier processes made, and compared with the plain step."""

    def get(self, signature: Signature) -> GraphModule | None:
        """The step of these shapes; None where it has to be traced."""

    def put(self, signature: Signature, graph: GraphModule) -> None:
        """Keep it for later processes."""
