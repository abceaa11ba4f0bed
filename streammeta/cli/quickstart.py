"""`streammeta quickstart`: a broker, a producer of tasks and the learner, with nothing else installed."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from streammeta.cli.run import live_console
from streammeta.cli.saying import say
from streammeta.config import Config, load_config
from streammeta.datasets.sinusoid import Sinusoids, sinusoid
from streammeta.errors import StreammetaError
from streammeta.events import Record
from streammeta.observe.snapshot import Snapshot
from streammeta.programs.daemon import Connect, KeepGoing, connect_kafka, run_daemon
from streammeta.sending.messages import messages
from streammeta.stream.base import DeadLetters, Source
from streammeta.stream.embedded import watchdog
from streammeta.stream.embedded.broker import EmbeddedBroker
from streammeta.stream.generated import GeneratedSource, NoDeadLetters
from streammeta.stream.kafka.topics import ensure_topic
from streammeta.wording import counted

TASKS = 20
EVENTS_PER_SECOND = 300.0
SETTINGS = (
    "algorithm.inner_lr=0.02",
    "algorithm.beta=0.5",
    "outer.lr=0.002",
    "outer.clip_norm=10.0",
    "state.checkpoint_seconds=1.0",
)
"""Found by trial: the loss after adaptation halves within some 4,000 events."""


@click.command()
@click.option("--duration", type=click.FloatRange(min=0, min_open=True), help="Stop after S seconds.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=9464, show_default=True, help="HTTP; 0: any free one."
)
@click.option("--no-broker", is_flag=True, help="Feed the learner in this process, without Kafka.")
@click.option(
    "--state",
    "directory",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where the state goes; default: a new directory.",
)
def quickstart(duration: float | None, port: int, no_broker: bool, directory: Path | None) -> None:
    """Watch a meta-model learn sinusoids, on this machine alone, until Ctrl-C.

    Example: streammeta quickstart --duration 60
    """
    made = directory is None
    directory = directory or Path(tempfile.mkdtemp(prefix="streammeta-"))
    with ExitStack() as stack:
        settings = [
            *SETTINGS,
            f"http.port={port}",
            f"state.dir={json.dumps(str(directory), ensure_ascii=False)}",
        ]
        if no_broker:
            connect: Connect = connect_generated
            say("no broker: the producer feeds the learner in this process", err=True)
        else:
            connect = connect_kafka
            broker = stack.enter_context(_broker_and_producer(directory))
            settings.append(f"kafka.bootstrap_servers={broker}")
        config = load_config(None, settings, {})
        stack.enter_context(_stopped_after(duration))
        last = run_daemon(
            config,
            read_config=lambda: config,
            connect=connect,
            console=live_console(config),
            on_serving=_greet,
        )
    _say_goodbye(last, directory, made=made)


@contextmanager
def _broker_and_producer(directory: Path) -> Iterator[str]:
    """An embedded broker with a producer of sinusoids; the broker's address."""
    directory.mkdir(parents=True, exist_ok=True)
    with EmbeddedBroker(directory / "broker.log") as broker:
        config = load_config(None, [f"kafka.bootstrap_servers={broker.bootstrap_servers}"], {})
        ensure_topic(config.kafka, config.kafka.topic, partitions=1)
        with _producer(broker.bootstrap_servers, directory / "producer.log"):
            yield broker.bootstrap_servers


@contextmanager
def _producer(bootstrap_servers: str, log_file: Path) -> Iterator[None]:
    """`streammeta produce sinusoid` in a process of its own, out of the reach of Ctrl-C.

    It ends with this one, however that ends: the watchdog hears of it.
    """
    # -P: a file in the working directory must not hide a module.
    command = [sys.executable, "-P", "-m", "streammeta", "produce", "sinusoid", "--tasks", str(TASKS)]
    options = ["--rate", str(EVENTS_PER_SECOND), "--bootstrap-servers", bootstrap_servers]
    with log_file.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 (our own command line)
            [sys.executable, "-I", watchdog.__file__, *command, *options],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=_environment(),
            start_new_session=True,
        )
    try:
        yield
        if process.poll():
            raise StreammetaError(f"the producer ended with exit code {process.returncode}; see {log_file}")
    finally:
        if process.stdin is not None:
            process.stdin.close()
        process.wait()


def _environment() -> dict[str, str]:
    """This one, with the place of this package where it is not installed."""
    places = (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH"))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}


def connect_generated(config: Config, _keep_going: KeepGoing) -> tuple[Source, DeadLetters]:
    """The producer's events, straight from memory."""
    began_ms, gap_ms = int(time.time() * 1000), int(1000 / EVENTS_PER_SECOND)

    def records_from(offset: int) -> Iterator[Record]:
        stream = messages(sinusoid(Sinusoids(tasks=TASKS), start=offset), "msgpack")
        for number, message in enumerate(stream, offset):
            headers = tuple((name, value) for name, value in message.headers)
            yield Record(
                config.kafka.topic, 0, number, began_ms + number * gap_ms, message.key, message.value, headers
            )

    return GeneratedSource(records_from, EVENTS_PER_SECOND), NoDeadLetters()


@contextmanager
def _stopped_after(seconds: float | None) -> Iterator[None]:
    """As if Ctrl-C were pressed after so long."""
    timer = threading.Timer(seconds or 0, os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True
    if seconds is not None:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _greet(address: str) -> None:
    say(f"streammeta is learning: open {address}")
    asked = '{"task": "sinusoid/0", "x": [[-1.0], [0.0], [1.0]]}'
    say(f"ask it: curl -s {address}/api/v1/predict -H 'content-type: application/json' -d '{asked}'")


def _say_goodbye(last: Snapshot, directory: Path, *, made: bool) -> None:
    loss, events = last["losses"]["adapted"], last["events"]
    say(f"learned from {counted(events, 'event')}; state kept in {directory}")
    if loss["first"] is not None and loss["now"] is not None:
        say(f"prequential loss after adaptation: {loss['first']:.2f} at first, {loss['now']:.2f} now")
    state = shlex.quote(str(directory))
    say(f"look at it: {_program(sys.argv[0])} tasks list --state {state}")
    if made:
        say(f"nothing else needs it; remove it when you like: rm -r {state}")


def _program(called: str) -> str:
    """How this program is called, for a shell: `called` as it was, where a path led to it."""
    if Path(called).name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m streammeta"
    found = shutil.which("streammeta")
    if not Path(called).is_file() or (found is not None and Path(found).samefile(called)):
        return "streammeta"
    return shlex.quote(called)
