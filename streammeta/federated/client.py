"""The client's side: it is told w, learns on its own data, and returns w_i and some measurements."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from streammeta.algorithms.base import State
from streammeta.algorithms.steps import adapt
from streammeta.config import Config
from streammeta.errors import StreammetaError
from streammeta.events import Batch, Episode
from streammeta.federated.memory import file_of, recalled, remember
from streammeta.federated.records import Name, answer_of, measured_of, name_of, read_call
from streammeta.federated.settings import (
    Client,
    ClientOf,
    blueprint_of,
    check_algorithm,
    document_of,
    keeps_memory,
)
from streammeta.models.losses import accuracy
from streammeta.models.network import Network

if TYPE_CHECKING:
    from flwr.app import Context, Message
    from flwr.clientapp import ClientApp

TEST_STEPS: Final = 10
"""Gradient steps of α by which a client personalises w before it is tested."""
_PHASES: Final = ("meta", "adapted", "memory")


def client_app(
    client_of: ClientOf, config: Config, *, memories: Path | None = None, test_steps: int = TEST_STEPS
) -> "ClientApp":
    """A Flower `ClientApp` that takes H local steps of LocalMOML or Per-FedAvg a round.

    With `algorithm.keep_memory` (cross-silo) u_i stays in Flower's client state from round to round; without
    it (cross-device) nothing of a client survives a round. What leaves the client is w_i, its name, losses,
    norms and a duration.

    Args:
        client_of: Makes the node's client; called for each message.
        config: `[model]`, `[algorithm]` (local_moml or per_fedavg) and `[outer]` (plain SGD: η).
        memories: A directory of the client's own where u_i outlives its process; None keeps it in Flower's
            client state alone.
        test_steps: Gradient steps of α by which it personalises w before it is tested.

    Raises:
        ConfigError: the settings are none that a client can compute with.
    """
    from flwr.app import Message
    from flwr.clientapp import ClientApp

    check_algorithm(config)
    office = _Office(client_of, document_of(config), keeps_memory(config), memories, test_steps)
    app = ClientApp()

    @app.query()
    def who(message: Message, context: "Context") -> Message:
        client = office.client_of(context)
        return Message(name_of(Name(client.name, client.trains)), reply_to=message)

    @app.train()
    def train(message: Message, context: "Context") -> Message:
        return office.learn(message, context)

    @app.evaluate()
    def evaluate(message: Message, context: "Context") -> Message:
        return office.test(message, context)

    return app


@dataclass(frozen=True, slots=True)
class _Office:
    """What the handlers share; small, for a simulation sends it along with each message."""

    client_of: ClientOf
    document: str
    keeps: bool
    memories: Path | None
    test_steps: int

    def learn(self, message: "Message", context: "Context") -> "Message":
        """One round.

        Raises:
            StreammetaError: the data cannot be used, or the round's result is not finite; the client has
                dropped out of the round, and its memory is as before.
        """
        from flwr.app import Message

        began = time.perf_counter()
        params, number = read_call(message)
        blueprint, client = blueprint_of(self.document), self.client_of(context)
        kept = self._recalled(client, context, number)
        memory = blueprint.network.initial.new_zeros(blueprint.learner.memory_size) if kept is None else kept
        seen = blueprint.network.initial.new_full((1,), kept is not None)
        state = _at(params, blueprint.learner.init(blueprint.network.initial))
        episode = _alone(blueprint.network.tensors(client.learn(number)))
        step = blueprint.steps.step(state, memory[None], seen, episode)
        if not step.finite:
            raise StreammetaError(
                f"client {client.name}: round {number} is not finite; lower outer.lr or algorithm.inner_lr"
            )
        if self.keeps:
            remember(context, number, step.memory[0], self._file(client))
        info = step.info
        measured = {f"loss_{phase}": getattr(info, f"loss_{phase}").item() for phase in _PHASES}
        measured |= _accuracies(step.predictions, episode)
        measured["tracking_error"] = info.tracking_error.item()
        measured["gradient_norm"] = info.gradient_norm.item()
        measured["seconds"] = time.perf_counter() - began
        return Message(answer_of(step.state.params, measured), reply_to=message)

    def test(self, message: "Message", context: "Context") -> "Message":
        """Losses on its test set: at w, at w personalised by `test_steps` steps, at its memory."""
        from flwr.app import Message

        began = time.perf_counter()
        params, number = read_call(message)
        blueprint, client = blueprint_of(self.document), self.client_of(context)
        network = blueprint.network
        support, query = network.tensors(client.test())
        state = _at(params, blueprint.learner.init(network.initial))
        adapted = adapt(network.loss, self.test_steps)(state, support)
        places = dict(zip(_PHASES, (params, adapted, self._recalled(client, context, number)), strict=True))
        measured = {"seconds": time.perf_counter() - began}
        for phase, at in places.items():
            if at is not None:
                measured |= _scores(network, at, query, phase)
        return Message(measured_of(measured), reply_to=message)

    def _recalled(self, client: Client, context: "Context", number: int) -> Tensor | None:
        return recalled(context, number, self._file(client)) if self.keeps else None

    def _file(self, client: Client) -> Path | None:
        return None if self.memories is None else file_of(self.memories, client.name)


def _at(params: Tensor, state: State) -> State:
    return state._replace(params=params.to(state.params.device))


def _alone(episode: Episode[Tensor]) -> Episode[Tensor]:
    """With a leading task axis of one."""
    return Episode(*(Batch(*(tensor[None] for tensor in batch)) for batch in episode))


def _accuracies(predictions: Tensor | None, episode: Episode[Tensor]) -> dict[str, float]:
    """Of classifiers: the share of the query set classified rightly before it was learned from."""
    if predictions is None:
        return {}
    known = zip(_PHASES, predictions[0], strict=True)
    return {
        f"accuracy_{phase}": accuracy(one, episode.query.y[0]).item()
        for phase, one in known
        if not bool(one.isnan().any())
    }


def _scores(network: Network, params: Tensor, query: Batch[Tensor], phase: str) -> dict[str, float]:
    with torch.no_grad():
        prediction = network.predict(params, query.x)
        scores = {f"loss_{phase}": network.loss_of(prediction, query.y).item()}
        if network.takes_classes:
            scores[f"accuracy_{phase}"] = accuracy(prediction, query.y).item()
    return scores
