"""The dashboards: what they have in common, and their JSON."""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    Panel,
    VariableModel,
    VariableRefresh,
    VariableSort,
)

from deploy.grafana import convergence, operations
from deploy.grafana.panels import SOURCE, here

TAG = "streammeta"


class Dashboard(NamedTuple):
    """A dashboard: its name is its file's, its uid is `streammeta-NAME`, for ever.

    Attributes:
        figures: The numbers across the top.
        rows: Title -> panels.
    """

    name: str
    text: str
    figures: Sequence[Builder[Panel]]
    rows: Mapping[str, Sequence[Builder[Panel]]]


DASHBOARDS = (
    Dashboard("convergence", "Is the stream being learned?", convergence.figures(), convergence.rows()),
    Dashboard(
        "operations", "Does the daemon keep up, and is it well?", operations.figures(), operations.rows()
    ),
)


def as_json(made: Dashboard) -> str:
    """What Grafana imports, the same bytes every time."""
    board = _board(made).build()
    for number, panel in enumerate(board.panels or [], 1):
        panel.id_val = number
    return json.dumps(board, cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"


def _board(made: Dashboard) -> dashboard.Dashboard:
    board = (
        dashboard.Dashboard(f"streammeta: {made.name}")
        .uid(f"streammeta-{made.name}")
        .description(made.text)
        .tags([TAG])
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .time("now-1h", "now")
        .refresh("10s")
        .timezone("browser")
        .link(
            dashboard.DashboardLink("streammeta")
            .type(DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .include_vars(True)
            .keep_time(True)
        )
        .annotation(
            dashboard.AnnotationQuery()
            .name("Alerts")
            .datasource(SOURCE)
            .enable(True)
            .icon_color("red")
            .expr(here('ALERTS{alertname=~"Streammeta.*", alertstate="firing", @}'))
        )
    )
    for variable in _variables():
        board.with_variable(variable)
    for panel in made.figures:
        board.with_panel(panel)
    for title, panels in made.rows.items():
        board.with_row(dashboard.Row(title))
        for panel in panels:
            board.with_panel(panel)
    return board


def _variables() -> list[Builder[VariableModel]]:
    """Which Prometheus, and which daemon in it: one at a time, for each learns a meta-model of its own."""
    source = dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
    return [
        source,
        _values("job", "label_values(streammeta_build_info, job)"),
        _values("instance", 'label_values(streammeta_build_info{job="$job"}, instance)'),
    ]


def _values(name: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(name)
        .datasource(SOURCE)
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )
