"""A champion and its challengers as metrics, beside each other: in series of their own, by learner.

The champion's other metrics know nothing of it: without challengers there is none of these, and with them
nothing else changes, so that no dashboard or alert takes a challenger for the learner that serves.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streammeta.observe.catalogue import OUTCOMES, PHASES

STATES: Final = ("starting", "learning", "behind", "stuck", "waiting", "failed", "ended")


class Learner(NamedTuple):
    """One of them.

    Attributes:
        name: Its label.
        state: Of `STATES`.
        status: As `Snapshot`; None before it has told any.
        behind: Records between it and the champion; None where that is not known.
        deaths: How often its process died in the life of the champion.
    """

    name: str
    state: str
    status: Mapping[str, Any] | None
    behind: int | None
    deaths: int


FAMILIES: Final[Mapping[str, tuple[str, Sequence[str], str]]] = {
    "streammeta_learner_state": (
        "gauge",
        ("learner", "state"),
        "1 for how the learner stands now, 0 for the others.",
    ),
    "streammeta_learner_events": (
        "counter",
        ("learner", "outcome"),
        "What became of records since the start of the learner's process.",
    ),
    "streammeta_learner_events_in_state": (
        "gauge",
        ("learner",),
        "Events learned in the life of the learner's state.",
    ),
    "streammeta_learner_prequential_loss": (
        "gauge",
        ("learner", "phase"),
        "Fading mean of the query loss before the event is learned from.",
    ),
    "streammeta_learner_prequential_loss_window": (
        "gauge",
        ("learner", "phase"),
        "The same, as the mean over the last 1,000 events.",
    ),
    "streammeta_learner_adaptation_gain": (
        "gauge",
        ("learner",),
        "Prequential loss at the meta-parameters minus after adaptation.",
    ),
    "streammeta_learner_events_per_second": ("gauge", ("learner",), "Events learned a second, lately."),
    "streammeta_learner_behind_records": (
        "gauge",
        ("learner",),
        "Records between the learner and the champion.",
    ),
    "streammeta_learner_deaths": (
        "counter",
        ("learner",),
        "How often the challenger's process died since the start of the champion's.",
    ),
}
"""Kind, labels, help; counters are exposed with `_total`."""


class LearnerMetrics(Collector):
    """Read when somebody scrapes; what is not known is absent."""

    def __init__(self, learners: Callable[[], Sequence[Learner]]) -> None:
        self._learners = learners

    def describe(self) -> Iterable[Metric]:
        """The families without samples."""
        return self._families().values()

    def collect(self) -> Iterable[Metric]:
        """The families now."""
        families = self._families()
        for learner in self._learners():
            for name, labels, value in _readings(learner):
                if value is not None:
                    families[name].add_metric([learner.name, *labels], value)
        return families.values()

    def _families(self) -> dict[str, CounterMetricFamily | GaugeMetricFamily]:
        return {
            name: (CounterMetricFamily if kind == "counter" else GaugeMetricFamily)(
                name, words, labels=labels
            )
            for name, (kind, labels, words) in FAMILIES.items()
        }


def _readings(learner: Learner) -> Iterator[tuple[str, Sequence[str], float | None]]:
    for state in STATES:
        yield "streammeta_learner_state", (state,), float(state == learner.state)
    yield "streammeta_learner_behind_records", (), learner.behind
    yield "streammeta_learner_deaths", (), learner.deaths
    status = learner.status
    if status is None:
        return
    for outcome in OUTCOMES:
        yield "streammeta_learner_events", (outcome,), status["outcomes"][outcome]
    for phase in PHASES:
        yield "streammeta_learner_prequential_loss", (phase,), status["losses"][phase]["now"]
        yield "streammeta_learner_prequential_loss_window", (phase,), status["losses"][phase]["window"]
    yield "streammeta_learner_adaptation_gain", (), status["adaptation_gain"]
    yield "streammeta_learner_events_in_state", (), status["events"]
    yield "streammeta_learner_events_per_second", (), status["events_per_second"]
