"""The PromQL of the dashboards and rules, and the names in it."""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from streammeta.dashboards.bundle import GRAFANA_DASHBOARDS, HERE
from streammeta.observe.catalogue import CATALOGUE
from streammeta.observe.learners import FAMILIES

RULE_FILES = sorted((HERE / "prometheus").glob("*.yaml"))
BOARDS = sorted(GRAFANA_DASHBOARDS.glob("*.json"))
PROCESS = {
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_max_fds",
}
"""Metrics of the process that prometheus_client exposes beside ours."""
PROMETHEUS = {"up", "ALERTS"}
"""Series that Prometheus makes itself."""


class Expression(NamedTuple):
    """Where it stands, and what it says."""

    where: str
    promql: str


def board(path: Any) -> dict[str, Any]:
    """A dashboard as Grafana reads it."""
    read: dict[str, Any] = json.loads(path.read_text())
    return read


def panels(of: dict[str, Any]) -> list[dict[str, Any]]:
    """Its panels, less the rows' titles."""
    return [panel for panel in of["panels"] if panel["type"] != "row"]


def panel_expressions() -> list[Expression]:
    """Every query of every panel."""
    return [
        Expression(f"{path.stem}: {panel['title']}", target["expr"])
        for path in BOARDS
        for panel in panels(board(path))
        for target in panel["targets"]
    ]


def annotation_expressions() -> list[Expression]:
    """Every query that marks moments on the time axis."""
    return [
        Expression(f"{path.stem}: {one['name']}", one["expr"])
        for path in BOARDS
        for one in board(path)["annotations"]["list"]
    ]


def rules() -> Iterator[dict[str, Any]]:
    """Recording rules and alerts."""
    for path in RULE_FILES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


def alerts() -> list[dict[str, Any]]:
    """The alerts alone."""
    return [rule for rule in rules() if "alert" in rule]


def recorded() -> set[str]:
    """The names that recording rules make."""
    return {rule["record"] for rule in rules() if "record" in rule}


def rule_expressions() -> list[Expression]:
    """Every rule's."""
    return [Expression(rule.get("record") or rule["alert"], rule["expr"]) for rule in rules()]


def names(promql: str) -> set[str]:
    """The metrics in an expression: what stands where a metric can stand."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', promql)
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\b(?:by|without|on|ignoring)\s*\([^)]*\)", " ", bare)
    words = re.findall(r"[a-zA-Z_:][\w:]*(?!\s*\()(?![\w:])", bare)
    return {word for word in words if not re.fullmatch(r"and|or|unless|offset|bool|by|\d*[smhdwy]", word)}


def exposed() -> set[str]:
    """Every series name that the catalogue gives rise to."""
    found: set[str] = set()
    for spec in CATALOGUE:
        parts = ("_bucket", "_sum", "_count") if spec.kind == "histogram" else ("",)
        found.update(spec.name + part for part in parts)
    for name, (kind, _, _) in FAMILIES.items():
        found.add(f"{name}_total" if kind == "counter" else name)
    return found
