"""A champion and its challengers beside each other in `/metrics`."""

import time
from typing import Any

from prometheus_client import generate_latest

from streammeta.observe.learners import STATES, Learner, LearnerMetrics
from streammeta.observe.metrics import Metrics, Registry
from streammeta.observe.status import Status
from tests.observe.outcomes import learned, turned

NAMES: Any = {"topic": "t", "algorithm": "moml", "version": "1", "torch_version": "2"}


def test_each_learner_has_a_label_and_nothing_else_has() -> None:
    """What is not known is absent; the champion's own series are as without challengers."""
    alone, accompanied = Registry(), Registry()
    status = Status(**NAMES, clock=time.monotonic, started_at_seconds=0.0)
    for registry in (alone, accompanied):
        metrics = Metrics(registry, **NAMES)
        for outcome in (turned(), learned()):
            metrics(outcome)
    for outcome in (turned(), learned()):
        status(outcome)
    champion = Learner("champion", "learning", dict(status.snapshot()), 0, 0)
    accompanied.register(LearnerMetrics(lambda: [champion, Learner("new", "starting", None, None, 2)]))
    text = generate_latest(accompanied).decode()
    assert 'streammeta_learner_prequential_loss{learner="champion",phase="adapted"}' in text
    assert 'streammeta_learner_events_total{learner="champion",outcome="learned"} 1.0' in text
    assert 'streammeta_learner_deaths_total{learner="new"} 2.0' in text
    assert 'streammeta_learner_events_total{learner="new"' not in text
    assert 'streammeta_learner_behind_records{learner="new"}' not in text
    assert sum('streammeta_learner_state{learner="new"' in line for line in text.splitlines()) == len(STATES)
    own = [line for line in generate_latest(alone).decode().splitlines() if "streammeta_" in line]
    assert [line for line in own if line not in text] == []
    assert not any("learner=" in line for line in own)
