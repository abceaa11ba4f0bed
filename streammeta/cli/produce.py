"""`streammeta produce`: streams of tasks into a topic."""

import json
import math
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from producers.messages import FORMATS, Format, Message, messages
from producers.omniglot import SPLITS, Split, Ways
from producers.omniglot import omniglot as omniglot_events
from producers.omniglot_data import load_drawings
from producers.sinusoid import Sinusoids
from producers.sinusoid import sinusoid as sinusoid_events
from streammeta.config import load_config
from streammeta.events import Array, Episode

if TYPE_CHECKING:
    from producers.publish import Published

Command = TypeVar("Command", bound=Callable[..., Any])
Events = Iterator[tuple[str, Episode[Array]]]

AT_LEAST_ONE = click.IntRange(min=1)
SECOND_INTERRUPT_EXIT_CODE = 130
_LOOK_SECONDS = 0.05


class Finite(click.FloatRange):
    """A number in a range; `nan` and `inf`, which Python takes for numbers, are refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


NOT_NEGATIVE = Finite(min=0)


def _option(*names: str, **settings: Any) -> Callable[[Command], Command]:
    return click.option(*names, show_default=settings.get("default") is not None, **settings)


TARGET = (
    _option(
        "--config", "path", metavar="F", type=click.Path(path_type=Path), help="Take [kafka] from there."
    ),
    _option("--bootstrap-servers", metavar="HOST:PORT,…", help="Over the configuration's [localhost:9092]."),
    _option("--topic", metavar="NAME", help="Over the configuration's [tasks]; created if it is missing."),
    _option("--partitions", type=AT_LEAST_ONE, help="Of a topic that is created [as the broker likes]."),
    _option("--format", "form", type=click.Choice(FORMATS), default="msgpack", help="Encoding of values."),
    _option("--events", type=AT_LEAST_ONE, metavar="N", help="Stop after N events [never]."),
    _option("--rate", type=Finite(min=0, min_open=True), help="Events a second [as fast as it goes]."),
    _option(
        "--output", type=click.Choice(["text", "json"]), default="text", help="Form of the final counts."
    ),
)
"""Options of every producer: where to, how many, how fast."""

SEED = _option("--seed", type=click.IntRange(min=0), default=0, help="Of all that is drawn at random.")


def _with(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """All of `options`, shown in their order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


@click.group()
def produce() -> None:
    """Write a stream of tasks to a topic. Ctrl-C ends it with what was sent."""


@produce.command()
@_with(
    _option("--tasks", type=AT_LEAST_ONE, default=100, help="Sinusoids, drawn uniformly."),
    _option("--shots", type=AT_LEAST_ONE, default=10, help="Examples in the support set."),
    _option("--query", type=AT_LEAST_ONE, default=10, help="Examples in the query set."),
    _option("--noise", type=NOT_NEGATIVE, default=0.0, help="Standard deviation of the noise on y."),
    _option(
        "--drift",
        type=NOT_NEGATIVE,
        default=0.0,
        help="Step of amplitude and phase an event, of their range.",
    ),
    SEED,
    *TARGET,
)
def sinusoid(
    tasks: int, shots: int, query: int, noise: float, drift: float, seed: int, **target: Any
) -> None:
    """Regression: y = A sin(x + φ), one amplitude and phase a task, optionally drifting."""
    _produce(sinusoid_events(Sinusoids(tasks, shots, query, noise, drift, seed)), **target)


@produce.command()
@_with(
    _option("--data", type=click.Path(path_type=Path), metavar="F", help="An .npz or the zip [downloaded]."),
    _option("--split", type=click.Choice(SPLITS), default="background", help="Which alphabets."),
    _option("--ways", type=click.IntRange(min=2), default=5, help="Characters of a task."),
    _option("--shots", type=AT_LEAST_ONE, default=5, help="Drawings a character in the support set."),
    _option("--query", type=AT_LEAST_ONE, default=5, help="Drawings a character in the query set."),
    SEED,
    *TARGET,
)
def omniglot(
    data: Path | None, split: Split, ways: int, shots: int, query: int, seed: int, **target: Any
) -> None:
    """Classification: handwritten characters, a task is a group of one alphabet."""
    _produce(omniglot_events(load_drawings(data, split), Ways(ways, shots, query, seed)), **target)


def _produce(
    events_of_tasks: Events,
    *,
    path: Path | None,
    bootstrap_servers: str | None,
    topic: str | None,
    partitions: int | None,
    form: Format,
    events: int | None,
    rate: float | None,
    output: str,
) -> None:
    # Imported here, so that --help does not wait for kafka-python.
    from producers.publish import Pace, open_producer, publish

    kafka = load_config(path, _overrides(bootstrap_servers=bootstrap_servers, topic=topic)).kafka
    stream = messages(islice(events_of_tasks, events), form)
    with _interrupt() as interrupt:
        producer = open_producer(kafka, partitions or -1, interrupt.keep_going)
        pace = Pace(rate, time.monotonic, interrupt.wait)
        with _progress(stream, events) as shown:
            published = publish(shown, producer, kafka, pace, time.monotonic, interrupt.keep_going)
    click.echo(_told(published, interrupt.stopped, output))


def _overrides(**settings: str | None) -> list[str]:
    """As `--set` takes them; a JSON string is a TOML string."""
    return [f"kafka.{name}={json.dumps(value)}" for name, value in settings.items() if value is not None]


def _told(published: "Published", interrupted: bool, output: str) -> str:
    if output == "json":
        return json.dumps({**asdict(published), "interrupted": interrupted})
    return (
        f"{published.events} events ({published.bytes / 1e6:.1f} MB) to {published.topic} "
        f"in {published.seconds:.1f} s, {published.events_per_second:.0f} events/s"
    )


class _Interrupt:
    """The first SIGINT or SIGTERM asks for an end; the second one takes it."""

    def __init__(self) -> None:
        self.stopped = False

    def __call__(self, _signal: int, _frame: FrameType | None) -> None:
        if self.stopped:
            os._exit(SECOND_INTERRUPT_EXIT_CODE)
        self.stopped = True

    def keep_going(self) -> bool:
        return not self.stopped

    def wait(self, seconds: float) -> bool:
        # In slices: time.sleep goes on after a signal.
        end = time.monotonic() + seconds
        while not self.stopped and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _LOOK_SECONDS))
        return self.stopped


@contextmanager
def _interrupt() -> Iterator[_Interrupt]:
    interrupt = _Interrupt()
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress(stream: Iterable[Message], total: int | None) -> Iterator[Iterable[Message]]:
    """The stream, counted on stderr while it is taken; nothing is shown where that is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield stream
        return
    columns = (TextColumn("events"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield progress.track(stream, total=total)
