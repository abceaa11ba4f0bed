"""`streammeta tasks delete|reset|release`: records into the topic that change what is kept of tasks.

They go the way of the events: each change has its place in the stream's order, in recordings and in replays.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from streammeta.cli.config_options import config_sources
from streammeta.cli.formats import FORMAT
from streammeta.cli.saying import say
from streammeta.cli.table import print_table
from streammeta.codec import CONTROL, RELEASE, RESET
from streammeta.config import load_config
from streammeta.errors import ConfigError
from streammeta.sending.messages import Message
from streammeta.state.rows import MAX_TASK_ID_BYTES, task_key

NAMES = click.argument("names", metavar="ID...", nargs=-1, required=True)
YES = click.option("--yes", is_flag=True, help="Do not ask, on a terminal.")


@click.command("delete")
@NAMES
@YES
@config_sources
@FORMAT
def delete_tasks(
    names: tuple[str, ...], yes: bool, path: Path | None, overrides: tuple[str, ...], form: str
) -> None:
    """Forget tasks: their memory, statistics and gathered examples.

    Example: streammeta tasks delete customer-17 --config learner.toml --yes

    Writes a tombstone (a record without a value) for each to kafka.topic. From its place in the stream on
    the task is unknown, and its next event is a first visit; with the next checkpoint its row is out of the
    state. The meta-model keeps what it learned from the task. Kept copies (state.keep_checkpoints), exports,
    recordings, and the topic itself keep what they hold.
    """
    if load_config(path, overrides).events.tombstones != "forget":
        raise ConfigError(
            'events.tombstones = "dead_letter": the learner would set tombstones aside; set it to "forget"'
        )
    tombstones = _messages(names, None)
    _ask(names, yes, "Forget")
    _write(tombstones, path, overrides, form)


@click.command("reset")
@NAMES
@YES
@config_sources
@FORMAT
def reset_tasks(
    names: tuple[str, ...], yes: bool, path: Path | None, overrides: tuple[str, ...], form: str
) -> None:
    """Begin tasks anew: the next visit of each counts as its first, from the meta-parameters.

    Statistics and gathered examples stay; a task in quarantine is released. Writes a record for each to
    kafka.topic.

    Example: streammeta tasks reset customer-17 --config learner.toml
    """
    resets = _messages(names, RESET)
    _ask(names, yes, "Begin anew")
    _write(resets, path, overrides, form)


@click.command("release")
@NAMES
@config_sources
@FORMAT
def release_tasks(names: tuple[str, ...], path: Path | None, overrides: tuple[str, ...], form: str) -> None:
    """Let tasks out of quarantine: learn from their events again.

    Writes a record for each to kafka.topic.

    Example: streammeta tasks release customer-17 --config learner.toml
    """
    _write(_messages(names, RELEASE), path, overrides, form)


COMMANDS: Sequence[click.Command] = (delete_tasks, reset_tasks, release_tasks)


def _messages(names: Sequence[str], control: bytes | None) -> list[Message]:
    """A record for each task, once; a tombstone without `control`.

    Raises:
        click.UsageError: no task can be called so; nothing is sent.
    """
    keys = []
    for name in dict.fromkeys(names):
        key = task_key(name)
        if key is None:
            raise click.UsageError(f"task {name[:60]!r}: an id has 1 to {MAX_TASK_ID_BYTES} bytes of UTF-8")
        keys.append(key)
    if control is None:
        return [Message(key, None, []) for key in keys]
    return [Message(key, b"{}", [(CONTROL, control)]) for key in keys]


def _ask(names: Sequence[str], yes: bool, verb: str) -> None:
    """Let a person confirm."""
    if not yes and sys.stdin.isatty():
        shown = ", ".join(map(repr, names[:3])) + (", …" if len(names) > 3 else "")
        click.confirm(f"{verb} {len(names)} task{'s' * (len(names) != 1)}: {shown}?", abort=True, err=True)


def _write(messages: Sequence[Message], path: Path | None, overrides: tuple[str, ...], form: str) -> None:
    """Write the records, wait for their acknowledgement, and say where each is.

    Raises:
        TopicMissing: where nothing is, nothing is to be changed.
        BrokerUnavailable, BrokerRefused: not all were taken in time.
    """
    # Imported here, so that the verbs that read a state do not wait for kafka-python.
    from streammeta.sending.publish import Pace, open_producer, publish
    from streammeta.stream.kafka.topics import administered

    kafka, rows = load_config(path, overrides).kafka, list[dict[str, Any]]()

    def placed(message: Message, partition: int, offset: int) -> None:
        task = message.key.decode()
        rows.append({"task": task, "topic": kafka.topic, "partition": partition, "offset": offset})

    pace = Pace(None, time.monotonic, lambda _: False)
    with administered(kafka) as administration:
        administration.require_writable(kafka.topic)
    try:
        publish(messages, open_producer(kafka), kafka, pace, time.monotonic, placed=placed)
    finally:
        if form == "json":
            say(json.dumps(rows))
        elif rows:
            print_table([*rows[0]], ([str(cell) for cell in row.values()] for row in rows), right=[2, 3])
