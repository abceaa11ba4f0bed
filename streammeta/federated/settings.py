"""How a federation makes its rounds, what a client is, and what both compute with."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol

from streammeta.config import Config
from streammeta.config.outer import SgdSection
from streammeta.errors import ConfigError
from streammeta.events import Array, Episode
from streammeta.runtime.blueprint import Blueprint, build_blueprint

if TYPE_CHECKING:
    from flwr.app import Context

ALGORITHMS: Final = ("local_moml", "per_fedavg")
_SECTIONS: Final = ("model", "algorithm", "outer")


class Client(Protocol):
    """What a client brings: its name, and data that never leave it."""

    @property
    def name(self) -> str:
        """What it is called on the server's page: the same whenever it comes back."""

    @property
    def trains(self) -> bool:
        """Whether it takes part in rounds; else it is only tested: a client that was never learned from."""

    def learn(self, number: int) -> Episode[Array]:
        """What it learns from in round `number` (from 0): sets that `[algorithm]` can cut into H steps."""

    def test(self) -> Episode[Array]:
        """A set to personalise on, and one to be judged on that no round learns from."""


ClientOf = Callable[["Context"], Client]
"""Makes the client of a node; called for each message."""


@dataclass(frozen=True, slots=True)
class Federation:
    """How rounds are made.

    Attributes:
        rounds: When to stop: after so many rounds in the life of the state; None goes on.
        seconds: When to stop: after so long in this process; None goes on.
        fraction: The share of the clients that is drawn for a round; 1 takes all.
        nodes: So many must be there before the first round.
        round_seconds: How long a round waits for answers; who has not answered then has dropped out of it.
        evaluate_every: Personalised test losses are measured after so many rounds; 0: at the end alone.
        seed: Of the draws of clients.
        data: What the clients are, in words: a state is not continued with others.
    """

    rounds: int | None = None
    seconds: float | None = None
    fraction: float = 1.0
    nodes: int = 1
    round_seconds: float = 60.0
    evaluate_every: int = 0
    seed: int = 0
    data: str = ""

    def __post_init__(self) -> None:
        """Refuse what is out of range.

        Raises:
            ConfigError: names the field, its value and the range.
        """
        if not 0 < self.fraction <= 1:
            raise ConfigError(f"fraction = {self.fraction}: a share of the clients, above 0 and at most 1")
        if self.round_seconds <= 0:
            raise ConfigError(f"round_seconds = {self.round_seconds}: how long a round waits, above 0")
        for name, least in (("rounds", 0), ("nodes", 1), ("evaluate_every", 0), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name} = {value}: at least {least}")


def check_algorithm(config: Config) -> None:
    """Refuse what no client computes.

    Raises:
        ConfigError: names the setting and the remedy.
    """
    algorithm, outer = config.algorithm.name, config.outer
    if algorithm not in ALGORITHMS:
        raise ConfigError(
            f"algorithm.name = {algorithm!r}: a federation learns by one of {', '.join(ALGORITHMS)}"
        )
    if not isinstance(outer, SgdSection) or outer.momentum or outer.schedule or outer.clip_norm:
        raise ConfigError(
            'outer: clients take plain steps of outer.lr and the server averages; set outer.name = "sgd" '
            "without momentum, schedule and clip_norm"
        )


def keeps_memory(config: Config) -> bool:
    """Whether clients keep their memory across rounds (cross-silo)."""
    return bool(getattr(config.algorithm, "keep_memory", False))


def of_server(config: Config) -> Config:
    """The configuration as the server has it: it sees no memory, so its state holds none."""
    if not keeps_memory(config):
        return config
    return config.model_copy(update={"algorithm": config.algorithm.model_copy(update={"keep_memory": False})})


def document_of(config: Config) -> str:
    """What a client computes with, as text: the sections `model`, `algorithm` and `outer`."""
    return json.dumps(config.model_dump(mode="json", by_alias=True, include={*_SECTIONS}))


@lru_cache(maxsize=8)
def blueprint_of(document: str) -> Blueprint:
    """What a client computes with, made once in a process."""
    return build_blueprint(Config.model_validate_json(document))
