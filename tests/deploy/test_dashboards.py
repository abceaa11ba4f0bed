"""The dashboards: made by their script, whole, and about metrics that exist."""

from pathlib import Path
from typing import Any

import pytest

from deploy.grafana.dashboards import DASHBOARDS, as_json
from streammeta.dashboards.bundle import GRAFANA_DASHBOARDS
from streammeta.observe.catalogue import CATALOGUE
from tests.deploy.expressions import (
    BOARDS,
    PROCESS,
    PROMETHEUS,
    annotation_expressions,
    board,
    exposed,
    names,
    panel_expressions,
    panels,
    recorded,
    rule_expressions,
)

each_board = pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)


def test_the_committed_json_is_what_the_script_makes() -> None:
    """After a change: `python -m deploy.grafana`."""
    assert {path.stem for path in BOARDS} == {made.name for made in DASHBOARDS}
    for made in DASHBOARDS:
        assert (GRAFANA_DASHBOARDS / f"{made.name}.json").read_text() == as_json(made), made.name


@each_board
def test_stable_uid_and_the_choice_of_data_source(path: Path) -> None:
    """Links to it stay valid; it works with any Prometheus, and so does each panel, query and annotation."""
    made = board(path)
    assert made["uid"] == f"streammeta-{path.stem}"
    source, *others = made["templating"]["list"]
    assert (source["type"], source["name"], source["query"]) == ("datasource", "datasource", "prometheus")
    assert [variable["name"] for variable in others] == ["job", "instance"]
    targets = [target for panel in panels(made) for target in panel["targets"]]
    for one in [*others, *panels(made), *targets, *made["annotations"]["list"]]:
        assert one["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, one


@each_board
def test_figures_on_top_then_rows(path: Path) -> None:
    """The first line is a full row of stats; nothing overlaps or leaves the grid; ids are unique."""
    made = board(path)
    top = [panel for panel in made["panels"] if panel["gridPos"]["y"] == 0]
    assert {panel["type"] for panel in top} == {"stat"}
    assert sum(panel["gridPos"]["w"] for panel in top) == 24
    taken: dict[tuple[int, int], str] = {}
    for panel in made["panels"]:
        at = panel["gridPos"]
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert x < 24
                assert (x, y) not in taken, (panel["title"], taken.get((x, y)))
                taken[x, y] = panel["title"]
    ids = [panel["id"] for panel in made["panels"]]
    assert len(set(ids)) == len(ids)


@each_board
def test_every_panel_explains_itself(path: Path) -> None:
    """A title of its own and a help text of a sentence or more, a unit, an expression for one daemon."""
    shown = panels(board(path))
    assert len({panel["title"] for panel in shown}) == len(shown)
    for panel in shown:
        assert len(panel["description"]) > 40, panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        for target in panel["targets"]:
            assert 'job="$job", instance="$instance"' in target["expr"], panel["title"]
            assert target["legendFormat"] or panel["type"] == "stat", panel["title"]


def test_every_name_is_in_the_catalogue() -> None:
    """No panel, annotation, rule or alert asks for a metric that nothing exposes or records."""
    known = exposed() | recorded() | PROCESS | PROMETHEUS
    expressions = [*panel_expressions(), *annotation_expressions(), *rule_expressions()]
    unknown = {(one.where, name) for one in expressions for name in names(one.promql) - known}
    assert not unknown


def test_every_metric_of_the_catalogue_is_shown() -> None:
    """On a panel, itself or by a recording rule that a panel uses."""
    shown = {name for one in panel_expressions() for name in names(one.promql)}
    by_rule = {one.where: names(one.promql) for one in rule_expressions()}
    shown |= {name for used in shown for name in by_rule.get(used, ())}
    families = {name.removesuffix("_bucket").removesuffix("_sum") for name in shown}
    assert {spec.name for spec in CATALOGUE} <= families | shown


def test_every_recording_rule_is_used() -> None:
    """By a panel or an alert."""
    used = {name for one in [*panel_expressions(), *rule_expressions()] for name in names(one.promql)}
    assert recorded() <= used


@pytest.mark.parametrize(
    ("promql", "expected"),
    [
        ('rate(a_total{b="c_total"}[5m]) / on (d) e', {"a_total", "e"}),
        ('label_replace(f > 0 and g == 0, "h", "i j", "", "")', {"f", "g"}),
        ("sum without (k) (l:m:n) or vector(0)", {"l:m:n"}),
        ("quantile_over_time(0.5, o[6h] offset 10m)", {"o"}),
        ("time() - p_seconds > abs(q)", {"p_seconds", "q"}),
        ("histogram_quantile(0.99, rate(r_bucket{}[$__rate_interval]))", {"r_bucket"}),
    ],
)
def test_names_are_found(promql: str, expected: Any) -> None:
    """Metrics, not functions, labels, strings or durations."""
    assert names(promql) == expected
