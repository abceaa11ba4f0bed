"""M4 hourly as a recording: the examples of its table through a Kafka topic, recorded as they come."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from streammeta.clock import Clock
from streammeta.config import Config
from streammeta.datasets.table import Example, Rows, in_order, series
from streammeta.datasets.table_data import Roles, load_rows, load_wide
from streammeta.errors import ConfigError, StreammetaError
from streammeta.events import Array
from streammeta.programs.recorder import Range, Recorder
from streammeta.recording.reader import Recording
from streammeta.recording.writer import Writer
from streammeta.reproduce.m4_network import HOURS
from streammeta.reproduce.report import Progress
from streammeta.sending.messages import Message, table_messages
from streammeta.sending.publish import Pace, open_producer, publish
from streammeta.stream.embedded.broker import EmbeddedBroker
from streammeta.stream.kafka.access import always
from streammeta.stream.kafka.source import KafkaSource

TOPIC: Final = "m4-hourly"
ROLES: Final = Roles("series", (), "value", "t")
LEAST_HOURS: Final = 2 * HOURS
"""Of a series: a window, and a day to forecast."""
TOLD_EVERY: Final = 1000

Told = Callable[[int, int], None]
"""(examples done, examples in all)."""


def load(data: Path, *, wide: bool, count: int | None, hours: int | None) -> Rows:
    """The first `count` series in the order of their numbers, the first `hours` of each, in time order.

    Args:
        data: A row an hour (columns series, t, value), or with `wide` a row a series, as in M4's own files.
        wide: Which of the two.
        count: Of series; None for all.
        hours: Of each; None for all.

    Raises:
        ConfigError: the file cannot be used, or a series is too short.
    """
    rows = load_wide(data, None) if wide else load_rows(data, ROLES)
    chosen = set(sorted(set(rows.tasks), key=lambda name: (len(name), name))[:count])
    seen: Counter[str] = Counter()
    places: list[int] = []
    for place in in_order(rows):
        task = rows.tasks[place]
        if task in chosen and (hours is None or seen[task] < hours):
            seen[task] += 1
            places.append(place)
    short = [task for task, length in seen.items() if length < LEAST_HOURS]
    if short:
        raise ConfigError(
            f"--data {data}: series {short[0]!r} is shorter than {LEAST_HOURS} hours; leave it out"
        )
    return Rows([rows.tasks[place] for place in places], rows.features[places], rows.targets[places], None)


def values_of(rows: Rows) -> dict[str, Array]:
    """Each series' values in order."""
    values: dict[str, list[float]] = {}
    for task, value in zip(rows.tasks, rows.targets, strict=True):
        values.setdefault(task, []).append(float(value))
    return {task: np.array(numbers) for task, numbers in values.items()}


def examples_of(rows: Rows) -> Iterator[Example]:
    """What `produce table --window 24 --horizon 1` makes of the rows."""
    return series(rows, window=HOURS, horizon=1)


def recorded(rows: Rows, folder: Path, progress: Progress) -> Recording:
    """Their examples, produced into a broker that lives for this alone, and recorded from it.

    Raises:
        StreammetaError: no broker is installed for this platform, or not all examples came through.
    """
    total = len(rows.targets) - HOURS * len(set(rows.tasks))
    with EmbeddedBroker() as broker:
        config = Config.model_validate(
            {"kafka": {"bootstrap_servers": broker.bootstrap_servers, "topic": TOPIC}}
        )
        messages = table_messages(examples_of(rows), "msgpack")
        _produce(config, _told(messages, partial(progress, "produce"), total))
        _record(config, folder, partial(progress, "record"), total)
    recording = Recording(folder)
    if recording.rows != total:
        raise StreammetaError(f"{recording.rows} of {total} examples came through the broker; run it again")
    return recording


def _told(messages: Iterable[Message], tell: Told, total: int) -> Iterator[Message]:
    for done, message in enumerate(messages, 1):
        if done % TOLD_EVERY == 0 or done == total:
            tell(done, total)
        yield message


def _produce(config: Config, messages: Iterable[Message]) -> None:
    """Into one partition: the order of time is that of the topic."""
    producer = open_producer(config.kafka, partitions=1)
    pace = Pace(None, time.monotonic, lambda _seconds: False)
    publish(messages, producer, config.kafka, pace, time.monotonic)


def _record(config: Config, folder: Path, tell: Told, total: int) -> None:
    with (
        closing(Writer(folder, "topic", TOPIC)) as writer,
        closing(KafkaSource(config.kafka)) as source,
    ):
        recorder = Recorder(source, writer, Range(), Clock())
        recorder.run({}, always, until_end=True, tell=lambda now: tell(now.rows, total))
        writer.roll()
