"""Flower's grid within this process: a message is answered when it is sent, or as a script says."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from flwr.app import Context, Error, Message, RecordDict, UserConfig
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from streammeta.federated.records import ROUND

FIRST_NODE = 1000
Fault = Callable[[Message], Message | None]
"""Message to a client -> what comes back instead of its answer; None for nothing."""


def context_of(place: int, nodes: int) -> Context:
    """A node's context, with an empty client state."""
    config: UserConfig = {"partition-id": place, "num-partitions": nodes}
    return Context(1, FIRST_NODE + place, config, RecordDict(), {})


def raised(message: Message) -> Message:
    """What Flower tells the server when a client raised."""
    return Message(Error(code=2, reason="ValueError: no data today"), reply_to=message)


def vanished(_message: Message) -> None:
    """The client is gone."""


@dataclass
class Here(Grid):
    """Nodes of one client app in this process.

    Attributes:
        app: The clients.
        contexts: By node id: their state lives as long as this.
        faults: (place, round) -> what happens to a call to learn.
        sent: Every message, with its reply.
    """

    app: ClientApp
    contexts: dict[int, Context]
    faults: dict[tuple[int, int], Fault] = field(default_factory=dict)
    sent: list[tuple[Message, Message | None]] = field(default_factory=list)
    _replies: dict[str, Message] = field(default_factory=dict)

    @classmethod
    def of(cls, app: ClientApp, nodes: int, faults: dict[tuple[int, int], Fault] | None = None) -> "Here":
        """So many nodes."""
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
        contexts = {FIRST_NODE + place: context_of(place, nodes) for place in range(nodes)}
        return cls(app, contexts, faults or {})

    def set_run(self, run: Run) -> None:
        """Not needed."""

    @property
    def run(self) -> Run:
        """Not needed."""
        raise NotImplementedError

    def create_message(self, *_: Any, **__: Any) -> Message:
        """Not needed."""
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        """The nodes."""
        return [*self.contexts]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Each is answered now."""
        return [self._push(message) for message in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """What was answered."""
        return [self._replies.pop(one) for one in [*message_ids] if one in self._replies]

    def send_and_receive(self, *_: Any, **__: Any) -> Iterable[Message]:
        """Not needed."""
        raise NotImplementedError

    def learned(self) -> Iterator[tuple[int, int, Message | None]]:
        """Round, place and reply of each call to learn."""
        for message, reply in self.sent:
            if message.metadata.message_type == "train":
                number = int(str(message.content.config_records[ROUND]["number"]))
                yield number, message.metadata.dst_node_id - FIRST_NODE, reply

    def _push(self, message: Message) -> str:
        name = f"message-{len(self.sent)}"
        message.metadata.__dict__["_message_id"] = name  # as Flower's own grid does
        reply = self._reply(message)
        self.sent.append((message, reply))
        if reply is not None:
            self._replies[name] = reply
        return name

    def _reply(self, message: Message) -> Message | None:
        node = message.metadata.dst_node_id
        if message.metadata.message_type == "train":
            number = int(str(message.content.config_records[ROUND]["number"]))
            fault = self.faults.get((node - FIRST_NODE, number))
            if fault is not None:
                return fault(message)
        try:
            return self.app(message, self.contexts[node])
        except Exception as error:  # noqa: BLE001 (as Flower: whatever a client raises is told, not raised)
            return Message(Error(code=2, reason=repr(error)), reply_to=message)
