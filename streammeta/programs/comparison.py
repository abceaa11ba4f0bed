"""Several configurations over one recording: each learns from the same rows, in the same order."""

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from streammeta.clock import Clock
from streammeta.config import Config
from streammeta.evaluation.prequential import Prequential
from streammeta.observe.catalogue import PHASES
from streammeta.outcomes import Learned, Observer, Outcome, Refused, Turned
from streammeta.programs.replay import of_recording
from streammeta.recording.reader import Recording
from streammeta.recording.selection import Selection
from streammeta.recording.source import ReplaySource
from streammeta.runtime.assembly import assemble
from streammeta.runtime.blueprint import build_blueprint, restore
from streammeta.runtime.controls import Controls
from streammeta.state.memory_store import MemoryStore
from streammeta.state.order_log import OrderLog
from streammeta.stream.generated import NoDeadLetters

POINTS = 400
"""Of a curve, at most about so many."""


@dataclass
class Curve:
    """Observer: what one configuration made of the recording.

    Attributes:
        name: Of the configuration.
        algorithm: Its algorithm.
        loss: Its loss, as `model.loss` names it.
        every: A point is taken after so many events.
        events, refused: Events learned from; records set aside.
        seconds: What it took, traces included.
        means: Mean prequential loss over all events, by phase; NaN where the learner has none.
        points: Events learned, and the fading mean of each phase then.
        last: The fading and windowed means at the end.
    """

    name: str
    algorithm: str
    loss: str
    every: int
    events: int = 0
    refused: int = 0
    seconds: float = 0.0
    points: list[tuple[int, tuple[float, ...]]] = field(default_factory=list)
    last: Prequential = field(default_factory=Prequential)
    _totals: dict[str, tuple[float, int]] = field(default_factory=dict)

    def __call__(self, outcome: Outcome) -> None:
        """Fold one outcome."""
        self.refused += isinstance(outcome, Refused)
        if not isinstance(outcome, Learned):
            return
        self.last = outcome.prequential
        for phase, losses in zip(PHASES, outcome.losses.T.tolist(), strict=True):
            total, count = self._totals.get(phase, (0.0, 0))
            for loss in losses:
                if math.isfinite(loss):
                    total, count = total + loss, count + 1
            if count:
                self._totals[phase] = (total, count)
        for means in outcome.means[:, :3].tolist():
            self.events += 1
            if self.events % self.every == 0:
                self.points.append((self.events, tuple(means)))

    @property
    def means(self) -> dict[str, float]:
        """By phase."""
        totals = {phase: self._totals.get(phase, (math.nan, 1)) for phase in PHASES}
        return {phase: total / count for phase, (total, count) in totals.items()}


def compare(
    recording: Recording,
    selection: Selection,
    configs: Mapping[str, Config],
    controls: Controls,
    tell: Callable[[str, float], None] = lambda _name, _share: None,
) -> Iterator[Curve]:
    """A curve for each configuration, one after another; states live in memory and are forgotten.

    Args:
        recording: What to learn from.
        selection: Which rows of it.
        configs: Name -> configuration.
        controls: `stop` ends the one at work, and begins no further one.
        tell: Hears the share that the one at work has read.

    Raises:
        RecordingError: a part cannot be used.
        ConfigError: a model cannot be built.
    """
    recording.check(selection)
    for name, config in configs.items():
        if not controls.stop:
            yield _learned(name, of_recording(config, recording), recording, selection, controls, tell)


def _learned(
    name: str,
    config: Config,
    recording: Recording,
    selection: Selection,
    controls: Controls,
    tell: Callable[[str, float], None],
) -> Curve:
    curve = Curve(name, config.algorithm.name, config.model.loss, max(1, recording.rows // POINTS))

    def progress(outcome: Outcome) -> None:
        if isinstance(outcome, Turned):
            tell(name, outcome.replayed)

    clock = Clock()
    began = clock.monotonic()
    learn(config, recording, selection, (curve, progress), controls)
    curve.seconds = clock.monotonic() - began
    return curve


def learn(
    config: Config,
    recording: Recording,
    selection: Selection,
    observers: Sequence[Observer],
    controls: Controls,
    *,
    predicts: bool = False,
) -> None:
    """The daemon's loop over a recording, its state in memory and forgotten, its dead letters told alone.

    Args:
        config: As `of_recording` makes it.
        recording: What to learn from.
        selection: Which rows of it.
        observers: Hear the outcomes.
        controls: `stop` ends it.
        predicts: Outcomes hold the predictions of query sets.

    Raises:
        RecordingError: a part cannot be used.
        ConfigError: the model cannot be built.
    """
    blueprint, store = build_blueprint(config, predicts=predicts), MemoryStore()
    source = ReplaySource(recording, selection, follows=False)
    with tempfile.TemporaryDirectory() as folder, closing(OrderLog(Path(folder) / "order.log")) as log:
        assemble(
            config,
            blueprint,
            restore(blueprint, store),
            source=source,
            dead_letters=NoDeadLetters(),
            store=store,
            order_log=log,
            observers=observers,
            controls=controls,
            tape=source,
        ).run(until_end=True)
