"""What every producer's verb shares: the options of where to and how fast, and the sending itself."""

import json
import math
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from streammeta.cli.formats import format_option
from streammeta.cli.saying import say
from streammeta.config import load_config
from streammeta.sending.messages import FORMATS, Message

if TYPE_CHECKING:
    from streammeta.sending.publish import Published

Command = TypeVar("Command", bound=Callable[..., Any])

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


def option(*names: str, **settings: Any) -> Callable[[Command], Command]:
    """A click option whose default is shown where it has one."""
    return click.option(*names, show_default=settings.get("default") is not None, **settings)


TARGET = (
    option("--config", "path", metavar="F", type=click.Path(path_type=Path), help="Take [kafka] from there."),
    option("--bootstrap-servers", metavar="HOST:PORT,…", help="Over the configuration's [localhost:9092]."),
    option("--topic", metavar="NAME", help="Over the configuration's [tasks]; created if it is missing."),
    option("--partitions", type=AT_LEAST_ONE, help="Of a topic that is created [as the broker likes]."),
    option("--format", "wire", type=click.Choice(FORMATS), default="msgpack", help="Encoding of values."),
    option("--events", type=AT_LEAST_ONE, metavar="N", help="Stop after N events [never]."),
    option("--rate", type=Finite(min=0, min_open=True), help="Events a second [as fast as it goes]."),
    format_option("text", "json", name="--summary", help_text="Form of the final counts."),
)
"""Options of every producer: where to, how many, how fast."""


def with_options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """All of `options`, shown in their order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def send(
    stream: Iterable[Message],
    *,
    path: Path | None,
    bootstrap_servers: str | None,
    topic: str | None,
    partitions: int | None,
    events: int | None,
    rate: float | None,
    form: str,
    by_schedule: bool = False,
    left_out: Callable[[], Mapping[str, Any]] = dict,
) -> None:
    """Publish the first `events` messages with the options of `TARGET`, and tell what was sent.

    `left_out` is asked at the end: more counts for `--summary json`.
    """
    # Imported here, so that --help does not wait for kafka-python.
    from streammeta.sending.publish import Pace, Schedule, open_producer, publish

    kafka = load_config(path, _overrides(bootstrap_servers=bootstrap_servers, topic=topic)).kafka
    stream = islice(stream, events)
    with _interrupt() as interrupt:
        producer = open_producer(kafka, partitions or -1, interrupt.keep_going)
        if by_schedule:
            pace: Pace | Schedule = Schedule(time.monotonic, interrupt.wait)
        else:
            pace = Pace(rate, time.monotonic, interrupt.wait)
        with _progress(stream, events) as shown:
            published = publish(shown, producer, kafka, pace, time.monotonic, interrupt.keep_going)
    say(_told(published, interrupt.stopped, left_out(), form))


def _overrides(**settings: str | None) -> list[str]:
    """As `--set` takes them; a JSON string is a TOML string."""
    return [f"kafka.{name}={json.dumps(value)}" for name, value in settings.items() if value is not None]


def _told(published: "Published", interrupted: bool, left_out: Mapping[str, Any], form: str) -> str:
    if form == "json":
        return json.dumps({**asdict(published), "interrupted": interrupted, **left_out})
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
