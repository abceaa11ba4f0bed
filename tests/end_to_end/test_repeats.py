"""Events that are sent again, over kills: each counts once within the window, also one sent before a kill."""

import random
import signal
from collections import Counter
from pathlib import Path

import numpy as np

from streammeta.codec import encode_json
from streammeta.events import episode_of
from tests.brokers.broker import Broker, fresh
from tests.end_to_end.program import Daemon, same_bits

EVENTS, TASKS, WINDOW = 240, 6, 80
AGAIN_LATE = (3, 5)
"""Events that are sent again when more than a window has passed."""


def produce(broker: Broker, topic: str) -> tuple[Counter[str], int]:
    """Two in five are sent again within the window; the events of each task that count, and all records."""
    chance, rng = random.Random(9), np.random.default_rng(9)
    values = [
        encode_json(episode_of(x, np.sin(x), x[:2], np.sin(x[:2])))
        for x in rng.normal(size=(EVENTS, 3, 1)).astype(np.float32)
    ]
    sent, counted = 0, Counter[str]()

    def send(number: int) -> None:
        nonlocal sent
        task = f"task-{number % TASKS}"
        headers = [("ce_id", b"event-%d" % number)]
        broker.producer.send(topic, key=task.encode(), value=values[number], headers=headers)
        sent += 1

    for number in range(EVENTS):
        send(number)
        counted[f"task-{number % TASKS}"] += 1
        if chance.random() < 0.4:
            send(number - chance.randrange(min(number + 1, 20)))
    for number in AGAIN_LATE:
        send(number)
        counted[f"task-{number % TASKS}"] += 1
    broker.producer.flush(30)
    return counted, sent


def test_kills_count_nothing_twice(tansu: Broker, tmp_path: Path) -> None:
    """Killed at three moments: the counts are exact, and the bits those of a run that nothing disturbed."""
    topic = tansu.create(fresh("repeats"))
    counted, sent = produce(tansu, topic)
    settings = {
        "kafka.bootstrap_servers": tansu.bootstrap_servers,
        "kafka.topic": topic,
        "model.args": "{sizes = [1, 8, 1]}",
        "events.dedupe_window_events": WINDOW,
        "state.checkpoint_events": 40,
    }
    assert sent > EVENTS + 60
    with Daemon(tmp_path / "calm", settings) as calm, Daemon(tmp_path / "killed", settings) as killed:
        calm.run_to_end()
        killed.run_with(signal.SIGKILL, 3, EVENTS, random.Random(4))
        assert calm.counts() == killed.counts() == counted
        assert same_bits(calm.export(), killed.export())
