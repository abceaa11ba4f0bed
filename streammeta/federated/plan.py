"""A simulation as the command line describes it: settings, federation and clients from one set of choices."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streammeta.config import Config, load_config
from streammeta.federated.clients import Alphabets, Cuts, Kind, Waves
from streammeta.federated.settings import ClientOf, Federation

WAYS: Final = 5
CHANNELS: Final = 8
DEVICE_FRACTION: Final = 0.12
"""The share of a round across devices, unless told: 3 of 25 clients, as in the paper's experiments."""
_RATES: Final[dict[Kind, tuple[float, float]]] = {"sinewave": (0.01, 0.01), "omniglot": (0.1, 0.1)}
"""α and η, unless told."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is simulated.

    Attributes:
        directory: Where the state goes.
        kind: What clients have.
        drawings: Omniglot's file; None downloads the author's.
        clients, unseen: How many take part in rounds; how many more are tested alone.
        silo: Clients keep their memory from round to round.
        fraction: The share of the clients in a round; None: all across silos, 0.12 across devices.
        local_steps, shots: H; K, of each S1 and S3.
        beta: β; 1 is Per-FedAvg.
        inner_lr, lr: α and η; None: what suits the data.
        seed: Of clients, draws and the first parameters.
        rounds, seconds, round_seconds, evaluate_every: As `Federation` has them.
        port: Of HTTP.
        overrides: Settings over all these.
    """

    directory: Path
    kind: Kind = "sinewave"
    drawings: Path | None = None
    clients: int = 25
    unseen: int = 20
    silo: bool = False
    fraction: float | None = None
    local_steps: int = 5
    shots: int = 3
    beta: float = 0.5
    inner_lr: float | None = None
    lr: float | None = None
    seed: int = 0
    rounds: int | None = None
    seconds: float | None = None
    round_seconds: float = 600.0
    evaluate_every: int = 0
    port: int = 0
    overrides: tuple[str, ...] = ()

    @property
    def cuts(self) -> Cuts:
        """The sizes of a client's sets: K0 = 2K where a memory begins, as in the paper's experiments."""
        initial = 0 if self.beta == 1 else (2 * self.shots if self.kind == "sinewave" else self.shots)
        return Cuts(initial, self.shots, self.local_steps)

    def config(self) -> Config:
        """The settings of server and clients.

        Raises:
            ConfigError: a setting is wrong.
        """
        inner_lr, lr = _RATES[self.kind]
        settings = [
            f"algorithm.name={'per_fedavg' if self.beta == 1 else 'local_moml'}",
            f"algorithm.inner_lr={inner_lr if self.inner_lr is None else self.inner_lr}",
            f"algorithm.local_steps={self.local_steps}",
            "algorithm.order=first",
            "outer.name=sgd",
            "outer.momentum=0",
            f"outer.lr={lr if self.lr is None else self.lr}",
            f"model.seed={self.seed}",
            f"http.port={self.port}",
            f"state.dir={json.dumps(str(self.directory), ensure_ascii=False)}",
            *self._model(),
        ]
        if self.beta < 1:
            per_class = WAYS if self.kind == "omniglot" else 1
            settings += [
                f"algorithm.beta={self.beta}",
                f"algorithm.initial_examples={self.cuts.initial * per_class}",
                f"algorithm.keep_memory={'true' if self.silo else 'false'}",
            ]
        return load_config(None, [*settings, *self.overrides], {})

    def federation(self) -> Federation:
        """How its rounds are made.

        Raises:
            ConfigError: a choice is out of range.
        """
        fraction = self.fraction or (1.0 if self.silo else DEVICE_FRACTION)
        return Federation(
            rounds=self.rounds,
            seconds=self.seconds,
            fraction=fraction,
            nodes=self.clients + self.unseen,
            round_seconds=self.round_seconds,
            evaluate_every=self.evaluate_every,
            seed=self.seed,
            data=f"{self.kind}, {self.clients} clients, {self.shots} examples a step",
        )

    def client_of(self) -> ClientOf:
        """Its clients.

        Raises:
            ConfigError: the drawings cannot be read, or are too few.
        """
        if self.kind == "sinewave":
            return Waves(self.clients, self.cuts, self.seed)
        drawings = None if self.drawings is None else self.drawings.resolve()
        alphabets = Alphabets(drawings, self.clients, WAYS, self.cuts, self.seed)
        alphabets.check(self.unseen)
        return alphabets

    def _model(self) -> list[str]:
        if self.kind == "sinewave":
            return [
                "model.factory=streammeta.models:mlp",
                "model.args={sizes = [1, 40, 40, 1]}",
                "model.loss=mse",
            ]
        return [
            "model.factory=streammeta.models:conv4",
            f"model.args={{ways = {WAYS}, channels = {CHANNELS}}}",
            "model.loss=cross_entropy",
        ]
