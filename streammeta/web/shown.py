"""What the port shows, as JSON: status with its troubles, history, tasks, settings.

Every answer is read from the observers, which hold no lock that the loop needs, and costs the same whoever
asks and however often: what is dear is computed once for all pages.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import numpy as np
from prometheus_client import CollectorRegistry

from streammeta.observe.challenger_trouble import challenger_troubles
from streammeta.observe.finding import Case
from streammeta.observe.health import Health
from streammeta.observe.history import DEAD, DROPPED, History, View
from streammeta.observe.marks import Mark
from streammeta.observe.status import Status
from streammeta.observe.task_index import TaskIndex, TaskRow, drift_fields, held_fields
from streammeta.observe.track import Numbers
from streammeta.observe.trouble import diagnose
from streammeta.quoting import quoted_bytes
from streammeta.state.quarantine import Held, release_command
from streammeta.state.store import TaskStats

LIVE_ROWS: Final = 5
"""Last seconds that each message of the stream carries: a page that misses some is still whole."""

LIVE_MARKS: Final = 8
"""Last marks that it carries."""

_DIGITS: Final = 6
_EXACT: Final = ("events", "seconds")


@dataclass(frozen=True)
class Shown:
    """Where the answers come from.

    Attributes:
        registry: The metrics.
        status, health, history, tasks: The observers.
        settings: The configuration in force, secrets masked.
        stored: A task's statistics as of the last checkpoint.
        now: Unix time in seconds.
        challengers: What learns beside this learner, if anything does.
        learners: Its curves and theirs, over its own events.
    """

    registry: CollectorRegistry
    status: Status
    health: Health
    history: History
    tasks: TaskIndex
    settings: Mapping[str, Any]
    stored: Callable[[str], TaskStats | None]
    now: Callable[[], float]
    challengers: Callable[[], Sequence[Mapping[str, Any]]] = tuple
    learners: Callable[[], Sequence[Mapping[str, Any]]] = tuple
    _curves: list[tuple[int, bytes]] = field(init=False, default_factory=list)

    def status_now(self) -> dict[str, Any]:
        """The snapshot and what is wrong."""
        status = self.status.snapshot()
        period = float(self.settings["state"]["checkpoint_seconds"])
        challengers = self.challengers()
        own = diagnose(Case(status, self.history.view(), self.now(), period))
        return {
            **status,
            "troubles": [trouble._asdict() for trouble in (*own, *challenger_troubles(challengers))],
            "challengers": challengers,
        }

    def curves(self) -> bytes:
        """The whole history as JSON; made once for each row of it."""
        seen = self.history.view()
        made = self._curves[-1] if self._curves else None
        if made is None or made[0] != seen.rows:
            made = (seen.rows, msgspec.json.encode(curves_of(seen)))
            self._curves[:] = [made]
        return made[1]

    def live(self) -> bytes:
        """One message of the stream: status, the last seconds of the history, the last marks."""
        seen = self.history.view()
        last = seen.time.recent[-LIVE_ROWS:]
        rows = {"to": seen.rows, "columns": columns_of(seen.time.columns, last)}
        marks = marks_of(seen.marks[-LIVE_MARKS:])
        return quoted_bytes(msgspec.json.encode({"status": self.status_now(), "rows": rows, "marks": marks}))

    def task_list(self, sort: str, limit: int, search: str, *, ascending: bool = False) -> dict[str, Any]:
        """The first tasks that match, and how many there are."""
        matching, rows = self.tasks.top(sort, limit, search, ascending=ascending)
        return {"known": len(self.tasks), "matching": matching, "tasks": [task_data(row) for row in rows]}

    def task(self, name: str) -> dict[str, Any] | None:
        """One task: what is known now, and what was stored at the last checkpoint; None when unknown."""
        found, stored = self.tasks.get(name), self.stored(name)
        if found is None and stored is None:
            return None
        events, held = self.status.snapshot()["events"], self.tasks.held(name)
        row = task_data(found[0]) if found else stored_data(name, stored or TaskStats(), events, held)
        return {
            **row,
            "visits": found[1]._asdict() if found else None,
            "memory_norm": _known(stored.memory_norm) if stored else None,
            "release": None if held is None else release_command(name),
        }

    def configuration(self) -> dict[str, Any]:
        """The settings, with the learning rates that are in force after a reload."""
        settings = {section: dict(table) for section, table in self.settings.items()}
        rates = self.status.snapshot()["learning_rates"]
        for section, key, rate in (("algorithm", "inner_lr", rates["inner"]), ("outer", "lr", rates["meta"])):
            if rate is not None and key in settings[section]:
                settings[section][key] = rate
        return settings


def curves_of(seen: View) -> dict[str, Any]:
    """Both tracks by column, the number of the last row, and the marks."""
    events, time = seen.events, seen.time
    return {
        "rows": seen.rows,
        "events": {"width": events.width, "columns": columns_of(events.columns, events.merged())},
        "time": {"width": time.width, "columns": columns_of(time.columns, time.merged())},
        "marks": marks_of(seen.marks),
    }


def marks_of(marks: Iterable[Mark]) -> list[dict[str, Any]]:
    """Marks as JSON."""
    return [mark._asdict() for mark in marks]


def columns_of(names: tuple[str, ...], numbers: Numbers) -> dict[str, list[float]]:
    """Column by column, rounded as a picture needs it; counts of what never happened are left out."""
    rounded = {
        name: column if name in _EXACT else _rounded(column)
        for name, column in zip(names, numbers.T, strict=True)
        if not name.startswith((DEAD, DROPPED)) or np.nansum(column)
    }
    return {name: column.tolist() for name, column in rounded.items()}


def task_data(row: TaskRow) -> dict[str, Any]:
    """A task as JSON."""
    data = row._asdict()
    seen = data.pop("last_seen_seconds")
    return {**data, "last_seen": _time(seen)}


def stored_data(task: str, stats: TaskStats, events: int, held: Held | None = None) -> dict[str, Any]:
    """The same from what is stored, without last visits."""
    return task_data(
        TaskRow(
            task=task,
            events=stats.events,
            staleness_events=max(0, events - stats.last_event),
            last_seen_seconds=stats.last_seen_ms / 1000,
            loss=_known(stats.loss),
            recent=[],
            **drift_fields(
                stats.drift.detections,
                stats.drift.last_event,
                stats.drift.loss_before,
                stats.drift.loss_after,
            ),
            **held_fields(held),
        )
    )


def _rounded(column: Numbers) -> Numbers:
    """To some significant digits; unknown stays unknown."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.power(10.0, _DIGITS - 1 - np.floor(np.log10(np.abs(column))))
        return np.where(np.isfinite(scale), np.round(column * scale) / scale, column)


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _time(seconds: float) -> str | None:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return None
