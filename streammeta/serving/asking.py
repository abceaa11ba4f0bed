"""What is asked, what is known when it is answered, and the answer."""

from typing import Final, Literal, NamedTuple, Protocol, get_args

from streammeta.algorithms.base import State
from streammeta.events import Array, Batch

At = Literal["auto", "meta", "memory", "adapted"]
Kind = Literal["meta", "memory", "adapted"]
AT: Final[tuple[str, ...]] = get_args(At)


class Ask(NamedTuple):
    """A prediction that is asked for.

    Attributes:
        task: The task.
        x: Inputs; the first axis counts the examples.
        support: Labelled examples to adapt on; None where the task's own buffer serves.
        at: At which parameters.
    """

    task: str
    x: Array
    support: Batch[Array] | None = None
    at: At = "auto"


class Known(NamedTuple):
    """What a state knows of a task.

    Attributes:
        events: Events learned from; 0 while its examples only wait.
        memory: Its memory, shape (M,), in the model's numbers; shape (0,) while it holds no visit.
        examples: The labelled examples that its buffer holds, older first; None for none.
    """

    events: int
    memory: Array
    examples: Batch[Array] | None = None


class View(Protocol):
    """One whole state, as long as it is looked at: whatever is learned meanwhile, nothing in it changes."""

    @property
    def state(self) -> State:
        """The learner's."""

    @property
    def events(self) -> int:
        """Events learned."""

    def task(self, task: str) -> Known | None:
        """What it knows of the task; None for nothing."""


class Answer(NamedTuple):
    """A prediction.

    Attributes:
        task: The task.
        y: The model's output for the inputs that were asked for.
        at: At which parameters it was made.
        known: Whether the state knows the task.
        events: Events that the state has learned.
        task_events: Those of the task.
    """

    task: str
    y: Array
    at: Kind
    known: bool
    events: int
    task_events: int
