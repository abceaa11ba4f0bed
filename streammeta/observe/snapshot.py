"""What `/api/v1/status` returns: the daemon at one moment, as one JSON value."""

from typing import TypedDict

from streammeta.observe.ranks import Group
from streammeta.observe.serving import Broker, Engine, Lag


class Loss(TypedDict):
    """A prequential loss: fading mean now, windowed mean, and the mean over the state's first events."""

    first: float | None
    now: float | None
    window: float | None


class Accuracy(TypedDict):
    """A prequential accuracy: fading mean now, and windowed mean."""

    now: float | None
    window: float | None


class Forgetting(TypedDict):
    """Loss on tasks' own earlier query sets, and its rise since they were learned from."""

    loss_earlier: float | None
    rise: float | None


class Checkpoint(TypedDict):
    """The last checkpoint tried. `timestamp_seconds` is Unix time."""

    ok: bool
    timestamp_seconds: float
    age_seconds: float
    duration_seconds: float
    bytes: int


class Snapshot(TypedDict):
    """What `/api/v1/status` returns.

    `state` is starting, restoring, disconnected, refused, learning or stopped. `events` counts the life of
    the state; `outcomes`, `dead_letters` and `examples_dropped` count since the start of the process.
    `tasks` is None before the first checkpoint. `replayed` is the share applied of what is applied again,
    after a crash or from a recording. `group` is None where it learns alone.
    """

    version: str
    torch: str
    algorithm: str
    topic: str
    started_at_seconds: float
    uptime_seconds: float
    state: str
    connected: bool
    restoring: bool
    events: int
    events_per_second: float
    outcomes: dict[str, int]
    dead_letters: dict[str, int]
    examples_dropped: dict[str, int]
    losses: dict[str, Loss]
    accuracies: dict[str, Accuracy]
    forgetting: Forgetting
    adaptation_gain: float | None
    gradient_norm: float | None
    update_norm: float | None
    tracking_error: float | None
    learning_rates: dict[str, float | None]
    lag: Lag
    broker: Broker
    engine: Engine
    group: Group | None
    tasks: dict[str, int] | None
    checkpoint: Checkpoint | None
    replayed: float | None
