"""`pipeline`: from Kafka to checkpointed state, by the real daemon and by two consumers written by hand.

All read the same topic, each run in a process of its own, from the first event on that came after all was
warm. The daemon does all that it does in service; what the consumers lack is in `peers/consumers.py`.
"""

import tempfile
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch

from streammeta.benchmarks.apart import apart
from streammeta.benchmarks.brokers import broker, new_topic, reads
from streammeta.benchmarks.daemons import daemon
from streammeta.benchmarks.peers.consumers import Inbox, consume
from streammeta.benchmarks.peers.numpy_moml import NumpyMoml
from streammeta.benchmarks.peers.problem import problem
from streammeta.benchmarks.peers.torchopt_maml import TorchoptMaml
from streammeta.benchmarks.rows import Plan, Row, Size, absent
from streammeta.benchmarks.turns import Measure, turns
from streammeta.datasets.sinusoid import Sinusoids
from streammeta.errors import BrokerUnavailable

OURS = "streammeta run"
TORCHOPT, NUMPY = "kafka-python + TorchOpt, by hand", "kafka-python + NumPy, by hand"
SCALES: dict[Size, tuple[int, int, int]] = {
    "small": (60, 20, 20),
    "usual": (40_000, 4000, 1000),
    "full": (200_000, 10_000, 1000),
}
"""Events that the daemon learns from; that the slower consumers do; between two checkpoints of the daemon."""
ROUNDS: dict[Size, int] = {"small": 1, "usual": 5, "full": 9}


def pipeline(plan: Plan) -> Iterator[Row]:
    """Microseconds an event, and how many times as long the consumers by hand take."""
    events, few, checkpoint = SCALES[plan.size]
    try:
        with broker(plan) as served, tempfile.TemporaryDirectory() as folder:
            topic = new_topic(served.servers, events)
            about = {"servers": served.servers, "topic": topic, "folder": folder}
            ours = partial(apart, __name__, "ours", executor=plan.executor, checkpoint=checkpoint, **about)
            measures: dict[str, Measure] = {OURS: ours}
            for name, peer in ((TORCHOPT, "torchopt"), (NUMPY, "numpy")):
                if find_spec(peer) is None:
                    yield absent(name, "µs", f"{peer} is not installed: pip install 'streammeta[bench]'")
                else:
                    measures[name] = partial(apart, __name__, "by_hand", events=few, peer=peer, **about)
            measured = turns(measures, plan.rounds_of(ROUNDS), uncounted=plan.uncounted)
    except BrokerUnavailable as error:
        yield absent(OURS, "µs", str(error))
        return
    for name, rounds in measured.items():
        yield rounds.row(name, "µs", 1e6, served.name)
    rate = 1 / measured[OURS].median
    yield Row(f"{OURS}, at that rate", rate, "events/s")
    for name, rounds in measured.items():
        if name != OURS:
            yield rounds.over(measured[OURS]).row(f"{name} / {OURS}", "ratio")


def ours(servers: str, topic: str, folder: str, executor: str, checkpoint: int) -> float:
    """Seconds an event of the daemon on a new state, behind its first checkpoint."""
    settings = [*reads(servers, topic), f"state.checkpoint_events={checkpoint}"]
    with tempfile.TemporaryDirectory(dir=folder) as state:
        return daemon(state, executor, settings).event_seconds(checkpoint)


def by_hand(servers: str, topic: str, folder: str, events: int, peer: str) -> float:
    """Seconds an event of a consumer by hand; one thread, as the daemon: it is the fastest here."""
    torch.set_num_threads(1)
    inbox = Inbox(problem(1, known=Sinusoids().tasks))
    learner = TorchoptMaml(inbox.problem) if peer == "torchopt" else NumpyMoml(inbox.problem)
    return consume(servers, topic, events, inbox, learner, Path(folder) / "learned.npz")
