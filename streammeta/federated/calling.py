"""Messages out, answers in: a round waits for its clients until a deadline, and for nobody longer."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from torch import Tensor

from streammeta.clock import Clock
from streammeta.errors import BadEvent
from streammeta.federated.records import (
    Name,
    bytes_of,
    call_of,
    read_measured,
    read_name,
    read_params,
)
from streammeta.quoting import quoted_line

if TYPE_CHECKING:
    from flwr.app import Message, RecordDict
    from flwr.serverapp import Grid

FIRST_PAUSE_SECONDS: Final = 0.01
LONGEST_PAUSE_SECONDS: Final = 0.5
REASON_LENGTH: Final = 300

Missed = Literal["failed", "refused", "vanished"]
"""Why a client has dropped out: it raised; its answer cannot be used; it did not answer in time."""


class Answer(NamedTuple):
    """What a client returned.

    Attributes:
        name: The client.
        params: w_i (d,); None where it was only tested.
        measured: What it measured.
        size_bytes: Of the arrays in its message.
    """

    name: str
    params: Tensor | None
    measured: Mapping[str, float]
    size_bytes: int


class Drop(NamedTuple):
    """A client that dropped out, and why."""

    name: str
    missed: Missed
    reason: str


@dataclass(frozen=True, slots=True)
class Called:
    """What came of a call.

    Attributes:
        answers: Of those that answered, in the order of their names: sums do not depend on who was fastest.
        dropped: The others.
        sent_bytes: Of the arrays that were sent.
        whole: Whether it was waited for to the end; else it was told to stop, and counts for nothing.
    """

    answers: list[Answer]
    dropped: list[Drop]
    sent_bytes: int
    whole: bool


@dataclass
class Caller:
    """Sends to nodes and gathers what they return.

    Attributes:
        grid: Flower's.
        clock: Time, for the deadline.
        pause: Waits so many seconds.
        going: Told while it waits; False to stop.
    """

    grid: "Grid"
    clock: Clock
    pause: Callable[[float], None]
    going: Callable[[], bool]

    def names(self, nodes: Iterable[int], seconds: float) -> dict[int, Name]:
        """Who these nodes are; those that do not say it in time are left out."""
        from flwr.app import RecordDict

        replies, _ = self._call("query", {node: RecordDict() for node in nodes}, seconds)
        names = {}
        for node, message in replies.items():
            if not message.has_error():
                try:
                    names[node] = read_name(message)
                except BadEvent:
                    continue
        return names

    def learn(self, nodes: Mapping[str, int], params: Tensor, number: int, seconds: float) -> Called:
        """Have these clients learn from w in round `number`."""
        return self._told("train", nodes, params, number, seconds, like=params)

    def test(self, nodes: Mapping[str, int], params: Tensor, number: int, seconds: float) -> Called:
        """Have these clients tested at w, as before round `number`."""
        return self._told("evaluate", nodes, params, number, seconds)

    def _told(
        self,
        kind: str,
        nodes: Mapping[str, int],
        params: Tensor,
        number: int,
        seconds: float,
        like: Tensor | None = None,
    ) -> Called:
        content = call_of(params, number)
        replies, whole = self._call(kind, dict.fromkeys(nodes.values(), content), seconds)
        found = [_read(name, replies.get(nodes[name]), like) for name in sorted(nodes)]
        answers = [one for one in found if isinstance(one, Answer)]
        dropped = [one for one in found if isinstance(one, Drop)]
        return Called(answers, dropped, len(nodes) * bytes_of(content), whole)

    def _call(
        self, kind: str, contents: Mapping[int, "RecordDict"], seconds: float
    ) -> tuple[dict[int, "Message"], bool]:
        """The replies by node, and whether it was waited for all of them or until the deadline."""
        from flwr.app import Message

        messages = [Message(content, node, kind, ttl=seconds) for node, content in contents.items()]
        waited = {*self.grid.push_messages(messages)}
        replies: dict[int, Message] = {}
        until, pause = self.clock.monotonic() + seconds, FIRST_PAUSE_SECONDS
        while waited:
            for reply in self.grid.pull_messages(waited):
                waited.discard(reply.metadata.reply_to_message_id)
                replies[reply.metadata.src_node_id] = reply
            if not waited or self.clock.monotonic() >= until:
                break
            if not self.going():
                return replies, False
            self.pause(pause)
            pause = min(pause * 1.3, LONGEST_PAUSE_SECONDS)
        return replies, True


def _read(name: str, message: "Message | None", like: Tensor | None) -> Answer | Drop:
    """The answer, or why it is none."""
    if message is None:
        return Drop(name, "vanished", "no answer within round_seconds")
    if message.has_error():
        return Drop(name, "failed", quoted_line(message.error.reason or "")[:REASON_LENGTH])
    try:
        params = None if like is None else read_params(message, like)
        return Answer(name, params, read_measured(message), bytes_of(message.content))
    except BadEvent as error:
        return Drop(name, "refused", str(error))
