"""What a run came to, as JSON, and against an earlier one.

    {"machine": {…}, "taken": RFC 3339, "load", "size", "rows": [{"suite", "name", "value", "unit",
     "spread", "rounds", "note", "earlier"?, "change"?}],
     "aims": [{"aim", "kind", "bound", "measured", "share"}]}

`load` is the load average of the last minute, when the run ended. `value` is null where it could not be
measured, `spread` null for a single round. With an earlier run: `earlier` is its value,
`change` ours over it. `share` of an aim is how much of it was reached, 1 and above is met.
"""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from streammeta.benchmarks.aims import judged
from streammeta.benchmarks.peers.catalogue import PEERS
from streammeta.benchmarks.rows import Plan, Row
from streammeta.errors import ConfigError
from streammeta.observe.machine import machine

_CPUINFO = Path("/proc/cpuinfo")

Named = tuple[str, Row]
"""A row, with its suite's name."""


class Change(NamedTuple):
    """A figure against an earlier one.

    Attributes:
        earlier: That one.
        ratio: This one over it.
        beyond_spread: Whether the middle halves of the two lie apart; None where one has no spread.
    """

    earlier: float
    ratio: float
    beyond_spread: bool | None


class Earlier:
    """An earlier run."""

    def __init__(self, path: Path) -> None:
        """Read what `--format json` wrote.

        Raises:
            ConfigError: it is no such file.
        """
        try:
            run = json.loads(path.read_bytes())
            self.machine: Mapping[str, Any] = run["machine"]
            self.taken, self.size = str(run["taken"]), str(run["size"])
            self._rows = {(row["suite"], row["name"], row["unit"]): _row(row) for row in run["rows"]}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"--compare {path}: not a run of `streammeta bench --format json` ({error})"
            ) from error

    def change(self, suite: str, row: Row) -> Change | None:
        """How the row changed; None where one of the two is not there."""
        before = self._rows.get((suite, row.name, row.unit))
        if before is None or not before.value or row.value is None:
            return None
        apart = None
        if before.spread and row.spread:
            apart = row.spread[0] > before.spread[1] or row.spread[1] < before.spread[0]
        return Change(before.value, row.value / before.value, apart)

    def differences(self, plan: Plan) -> list[str]:
        """In words, why the figures may differ beside the code."""
        now = {**described(), "size": plan.size}
        before = {**self.machine, "size": self.size}
        return [
            f"{name}: {before.get(name)} then, {value} now"
            for name, value in now.items()
            if before.get(name) != value
        ]


def described() -> dict[str, str | int | None]:
    """The machine, its processor, and the versions of what is measured against."""
    versions = {}
    for package in dict.fromkeys(("numpy", *(peer.package for peer in PEERS.values() if peer.package))):
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return {**machine(), "processor": processor_model(), **versions}


def processor_model() -> str:
    """What it is called; "" where the system does not tell."""
    if not _CPUINFO.exists():
        return platform.processor()
    lines = _CPUINFO.read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def document(plan: Plan, rows: Sequence[Named], earlier: Earlier | None) -> dict[str, Any]:
    """The run as JSON takes it."""
    return {
        "machine": described(),
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "load": os.getloadavg()[0],
        "size": plan.size,
        "rows": [_told(suite, row, earlier) for suite, row in rows],
        "aims": [
            {"aim": aim.words, "kind": aim.kind, "bound": aim.bound, "measured": measured, "share": share}
            for aim, measured, _, share in judged(rows)
        ],
    }


def _told(suite: str, row: Row, earlier: Earlier | None) -> dict[str, Any]:
    change = earlier.change(suite, row) if earlier else None
    told = {} if change is None else {"earlier": change.earlier, "change": change.ratio}
    return {"suite": suite, **row._asdict(), **told}


def _row(told: Mapping[str, Any]) -> Row:
    spread = told["spread"]
    value = told["value"]
    return Row(
        str(told["name"]),
        None if value is None else float(value),
        str(told["unit"]),
        None if spread is None else (float(spread[0]), float(spread[1])),
    )
