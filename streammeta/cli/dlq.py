"""`streammeta dlq`: the dead-letter topic, and its records back onto the topic that they came from."""

import heapq
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import structlog

from streammeta.cli.config_options import config_sources
from streammeta.cli.formats import FORMAT
from streammeta.cli.saying import say
from streammeta.cli.table import print_table
from streammeta.config import Config, load_config
from streammeta.errors import Reason, StreammetaError
from streammeta.observe.logs import configure_logging
from streammeta.quoting import quoted_line
from streammeta.recording.times import time_text
from streammeta.runtime.controls import Controls
from streammeta.runtime.signals import signals_to
from streammeta.sending.redelivery import Redelivered, Redelivery, Wanted
from streammeta.stream.kafka.access import KafkaSettings
from streammeta.stream.kafka.letters import Letter, Notes, dead_letter_records, letter_of
from streammeta.wording import counted

COLUMNS: Final = ("time", "reason", "from", "key", "bytes", "replayed", "message")
"""Those of the table; the others are in the JSON."""
NARROW: Final = ("time", "reason", "from", "key", "message")
"""Those of a terminal that has no room for all."""

REASONS = click.option(
    "--reason",
    "reasons",
    multiple=True,
    type=click.Choice([reason.value for reason in Reason]),
    help="Of this reason; may be repeated.",
)
TASKS = click.option("--task", "tasks", metavar="ID", multiple=True, help="Of this task; may be repeated.")


@click.group()
def dlq() -> None:
    """Dead letters: look at them, put them back."""


def _of_dead_letters(config: Config) -> KafkaSettings:
    """The settings that reach the dead-letter topic; what it has lost is lost."""
    changes = {"topic": config.kafka.dead_letter_topic, "on_lost_offsets": "earliest"}
    return config.kafka.model_copy(update=changes)


def _wanted(reasons: tuple[str, ...], tasks: tuple[str, ...]) -> Wanted:
    return Wanted(frozenset(reasons), frozenset(task.encode() for task in tasks))


@dataclass
class _Counts:
    """What the reading met on the way."""

    reasons: Counter[str] = field(default_factory=Counter)
    foreign: int = 0
    notes: Notes = field(default_factory=Notes)


@dlq.command("list")
@config_sources
@REASONS
@TASKS
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True, help="How many; 0: all.")
@FORMAT
def list_letters(
    path: Path | None,
    overrides: tuple[str, ...],
    reasons: tuple[str, ...],
    tasks: tuple[str, ...],
    limit: int,
    form: str,
) -> None:
    """List dead letters, the newest first: where each came from, and why it was set aside.

    Example: streammeta dlq list --config learner.toml --reason bad_tensor
    """
    config = load_config(path, overrides)
    configure_logging(config.log.level, config.log.format)
    counts = _Counts()
    found = _letters(config, _wanted(reasons, tasks), counts)
    newest = heapq.nlargest(limit, found) if limit else sorted(found, reverse=True)
    rows = [_row(entry, counts.notes) for entry in newest]
    if form == "json":
        say(json.dumps(rows))
        return
    if rows:
        _print(rows)
    say(_summary(config, counts, len(rows)), err=True)


class _Entry(NamedTuple):
    """A letter in the order of the list; `size_bytes` and no value, which may be large."""

    written_ms: int
    partition: int
    offset: int
    size_bytes: int
    letter: Letter


def _letters(config: Config, wanted: Wanted, counts: _Counts) -> Iterator[_Entry]:
    for record in dead_letter_records(_of_dead_letters(config)):
        letter = letter_of(record)
        if letter is None:
            counts.foreign += not counts.notes.read(record)
        elif wanted.holds(letter):
            counts.reasons[letter.reason] += 1
            light = replace(letter, original=letter.original._replace(value=None, headers=()))
            size_bytes = len(letter.original.value or b"")
            yield _Entry(letter.written_ms, letter.partition, letter.offset, size_bytes, light)


def _row(entry: _Entry, notes: Notes) -> dict[str, Any]:
    letter, original = entry.letter, entry.letter.original
    return {
        "time": time_text(letter.written_ms),
        "reason": letter.reason,
        "topic": original.topic,
        "partition": original.partition,
        "offset": original.offset,
        "key": _text(original.key),
        "bytes": entry.size_bytes,
        "stage": letter.stage,
        "omitted": letter.omitted,
        "message": letter.message,
        "replayed": notes.hold(letter.partition, letter.offset),
        "dead_letter": {"partition": letter.partition, "offset": letter.offset},
    }


def whole(letter: Letter) -> dict[str, Any]:
    """The letter with all that the record held; bytes that are not UTF-8 are escaped."""
    original = letter.original
    return {
        "time": time_text(letter.written_ms),
        "reason": letter.reason,
        "stage": letter.stage,
        "message": letter.message,
        "topic": original.topic,
        "partition": original.partition,
        "offset": original.offset,
        "omitted": letter.omitted,
        "key": _text(original.key),
        "headers": [{"name": name, "value": _text(value)} for name, value in original.headers],
        "value": _text(original.value),
    }


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode("utf-8", "backslashreplace")


def _print(rows: list[dict[str, Any]]) -> None:
    told = (
        {
            **row,
            "time": f"{row['time'][:19]}Z" if row["time"] else None,
            "from": f"{row['partition']}:{row['offset']}",
            "replayed": "yes" if row["replayed"] else "",
        }
        for row in rows
    )
    print_table(
        COLUMNS,
        (["-" if cells[name] is None else str(cells[name]) for name in COLUMNS] for cells in told),
        narrow=[COLUMNS.index(name) for name in NARROW],
        wraps=[COLUMNS.index("message")],
    )


def _summary(config: Config, counts: _Counts, shown: int) -> str:
    total = counts.reasons.total()
    reasons = ", ".join(f"{quoted_line(reason)} {count:,}" for reason, count in counts.reasons.most_common())
    parts = [
        f"{counted(total, 'dead letter')} in {config.kafka.dead_letter_topic}"
        + (f": {reasons}" if reasons else "")
    ]
    parts += [f"{shown:,} shown, --limit 0 shows all"] if shown < total else []
    parts += [counted(counts.foreign, "other record")] if counts.foreign else []
    return "; ".join(parts)


@dlq.command("show")
@click.argument("place", metavar="PARTITION:OFFSET")
@config_sources
@FORMAT
def show_letter(place: str, path: Path | None, overrides: tuple[str, ...], form: str) -> None:
    """Show one record whole: why it was set aside, its headers, its value.

    PARTITION:OFFSET is where it came from, as `dlq list` says under "from".

    Example: streammeta dlq show 0:1734 --config learner.toml
    """
    partition, _, offset = place.partition(":")
    if not (partition.isdecimal() and offset.isdecimal()):
        raise click.UsageError(f"{place!r} is not PARTITION:OFFSET, such as 0:1734")
    config = load_config(path, overrides)
    configure_logging(config.log.level, config.log.format)
    found = [
        letter
        for record in dead_letter_records(_of_dead_letters(config))
        if (letter := letter_of(record)) is not None
        and (letter.original.partition, letter.original.offset) == (int(partition), int(offset))
    ]
    if not found:
        raise StreammetaError(f"{place}: not in {config.kafka.dead_letter_topic}; see: streammeta dlq list")
    if form == "json":
        say(json.dumps([whole(letter) for letter in found]))
        return
    for letter in found:
        for name, value in whole(letter).items():
            if name != "headers":
                say(f"{name:10} {'-' if value in (None, '') else quoted_line(str(value))}")
        for header in whole(letter)["headers"]:
            say(f"header     {quoted_line(header['name'])}: {quoted_line(str(header['value']))}")


@dlq.command("replay")
@config_sources
@REASONS
@TASKS
@click.option("--dry-run", is_flag=True, help="Tell what would be put back, and do nothing.")
@click.option("--again", is_flag=True, help="Also what was put back before.")
@FORMAT
def replay_letters(
    path: Path | None,
    overrides: tuple[str, ...],
    reasons: tuple[str, ...],
    tasks: tuple[str, ...],
    dry_run: bool,
    again: bool,
    form: str,
) -> None:
    """Put dead letters back onto kafka.topic: key, value, headers and partition as they were, each once.

    They stay in the dead-letter topic, with a note that they were put back. Stopped or killed, the same
    command goes on.

    Example: streammeta dlq replay --config learner.toml --dry-run
    """
    config = load_config(path, overrides)
    configure_logging(config.log.level, config.log.format)
    controls = Controls()
    with signals_to(controls):
        wanted, dead_letters = _wanted(reasons, tasks), _of_dead_letters(config)
        redelivery = Redelivery(config.kafka, dead_letters, wanted, lambda: not controls.stop)
        told = redelivery.plan(again=again) if dry_run else redelivery.run(again=again, tell=_tell)
    if form == "json":
        say(json.dumps({**asdict(told), "sent": told.sent.total(), "reasons": dict(told.sent)}))
        return
    say(_told(told, dry_run=dry_run))


def _tell(sent: int) -> None:
    structlog.get_logger().info("dead letters put back", sent=sent)


def _told(told: Redelivered, *, dry_run: bool) -> str:
    reasons = ", ".join(f"{quoted_line(reason)} {count:,}" for reason, count in told.sent.most_common())
    verb = "would go back" if dry_run else "put back"
    parts = [
        f"{counted(told.sent.total(), 'dead letter')} {verb} to {told.topic}"
        + (f" ({reasons})" if reasons else "")
    ]
    parts += [f"{told.before:,} were put back before (--again sends them once more)"] if told.before else []
    parts += [f"{told.elsewhere:,} of other topics left"] if told.elsewhere else []
    parts += (
        [f"{told.incomplete:,} do not hold their whole record; the source topic does, while it keeps it"]
        if told.incomplete
        else []
    )
    parts += [f"{counted(told.foreign, 'other record')} left"] if told.foreign else []
    parts += [] if told.done else ["stopped; the same command goes on"]
    return "; ".join(parts)
