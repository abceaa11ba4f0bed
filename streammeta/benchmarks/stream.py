"""From Kafka to checkpointed state: the whole daemon but its process, against the embedded broker."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

from streammeta.benchmarks.result import Result
from streammeta.config import Config, load_config
from streammeta.datasets.sinusoid import Sinusoids, sinusoid
from streammeta.outcomes import Learned
from streammeta.runtime.assembly import assemble, build_brain, restore
from streammeta.sending.messages import messages
from streammeta.sending.publish import Pace, open_producer, publish
from streammeta.state.directory import StateDirectory
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.order_log import OrderLog
from streammeta.stream.embedded.broker import EmbeddedBroker
from streammeta.stream.kafka.dead_letters import KafkaDeadLetters
from streammeta.stream.kafka.source import KafkaSource

EVENTS = 5000


def stream() -> Iterator[Result]:
    """Events a second, strict, one meta-update each, checkpoints included."""
    with EmbeddedBroker() as broker, tempfile.TemporaryDirectory() as folder:
        for order in ("second", "first"):
            settings = [
                f"kafka.bootstrap_servers={broker.bootstrap_servers}",
                f"kafka.topic=bench-{order}",
                f"algorithm.order={order}",
                "outer.clip_norm=10.0",
            ]
            config = load_config(None, settings, {})
            _fill(config)
            yield Result(f"Kafka to state, {order} order", _learn(config, Path(folder) / order), "events/s")


def _fill(config: Config) -> None:
    stream = messages(islice(sinusoid(Sinusoids()), EVENTS), "msgpack")
    pace = Pace(None, time.monotonic, lambda _: False)
    publish(stream, open_producer(config.kafka, 1), config.kafka, pace, time.monotonic)


def _learn(config: Config, folder: Path) -> float:
    """Events a second, from the first event learned (which pays for the trace) to the last commit."""
    learned_at: list[float] = []
    brain = build_brain(config)
    with (
        StateDirectory(folder) as directory,
        closing(LmdbStore(directory.lmdb_path)) as store,
        closing(OrderLog(directory.order_log_path)) as log,
        closing(KafkaSource(config.kafka)) as source,
        closing(KafkaDeadLetters(config.kafka)) as dead,
    ):
        loop = assemble(
            config,
            brain,
            restore(brain, store),
            source=source,
            dead_letters=dead,
            store=store,
            order_log=log,
            observers=[lambda o: learned_at.append(time.perf_counter()) if isinstance(o, Learned) else None],
        )
        loop.run(until_end=True)
        return (len(learned_at) - 1) / (time.perf_counter() - learned_at[0])
