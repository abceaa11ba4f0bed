"""The few kinds of panel that the dashboards are made of. Each has a help text, and shows one daemon.

Grafana's grid is 24 columns wide; `span` is how many of them a panel takes.
In expressions `@` stands for the labels that select the daemon: `streammeta_tasks{@}`.
"""

from collections.abc import Mapping

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    FieldColorModeId,
    Panel,
    Threshold,
    ThresholdsMode,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = DataSourceRef("prometheus", "${datasource}")
DAEMON = 'job="$job", instance="$instance"'
PER_SECOND = "suffix: /s"
Levels = Mapping[float, str]
"""Colours of a value from a bound on; below the first bound it is green."""


def here(expression: str) -> str:
    """The expression for the daemon that is looked at."""
    return expression.replace("@", DAEMON)


def figure(
    title: str,
    text: str,
    expression: str,
    *,
    unit: str = "short",
    levels: Levels | None = None,
    legend: str = "",
    no_value: str = "-",
    span: int = 4,
) -> Builder[Panel]:
    """One number, coloured by its level; with `legend`, that text in place of the number."""
    steps = [Threshold(None, "green"), *(Threshold(*level) for level in (levels or {}).items())]
    shown = options.BigValueTextMode.NAME if legend else options.BigValueTextMode.AUTO
    graph = options.BigValueGraphMode.NONE if legend else options.BigValueGraphMode.AREA
    return (
        stat.Panel()
        .title(title)
        .description(text)
        .datasource(SOURCE)
        .with_target(_query(expression, legend))
        .unit(unit)
        .no_value(no_value)
        .text_mode(shown)
        .graph_mode(graph)
        .color_mode(options.BigValueColorMode.VALUE)
        .thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .height(4)
        .span(span)
    )


def curves(
    title: str,
    text: str,
    expressions: Mapping[str, str],
    *,
    unit: str = "short",
    span: int = 8,
    log: bool = False,
    stacked: bool = False,
    least: float | None = None,
) -> Builder[Panel]:
    """Curves over time. `expressions`: legend (`{{label}}` is filled in) -> expression."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(text)
        .datasource(SOURCE)
        .unit(unit)
        .line_width(1.5)
        .fill_opacity(20 if stacked else 0)
        .show_points(options.VisibilityMode.AUTO)
        .legend(
            common.VizLegendOptions()
            .display_mode(options.LegendDisplayMode.LIST)
            .placement(options.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(options.TooltipDisplayMode.MULTI)
            .sort(options.SortOrder.DESCENDING)
        )
        .height(8)
        .span(span)
    )
    if log:
        scale = common.ScaleDistributionConfig().type(options.ScaleDistribution.LOG).log(10)
        panel.scale_distribution(scale)
    if stacked:
        panel.stacking(common.StackingConfig().mode(options.StackingMode.NORMAL))
    if least is not None:
        panel.min(least)
    for number, (legend, expression) in enumerate(expressions.items()):
        panel.with_target(_query(expression, legend, chr(ord("A") + number)))
    return panel


def ranking(title: str, text: str, expression: str, legend: str, *, span: int = 8) -> Builder[Panel]:
    """The values of now as bars, in the order of the expression."""
    return (
        bargauge.Panel()
        .title(title)
        .description(text)
        .datasource(SOURCE)
        .with_target(_query(expression, legend).instant().format(PromQueryFormat.TIME_SERIES))
        .unit("short")
        .min(0)
        .display_mode(options.BarGaugeDisplayMode.BASIC)
        .orientation(options.VizOrientation.HORIZONTAL)
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.CONTINUOUS_GR_YL_RD))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .height(16)
        .span(span)
    )


def _query(expression: str, legend: str, ref_id: str = "A") -> prometheus.Dataquery:
    return (
        prometheus.Dataquery().expr(here(expression)).legend_format(legend).ref_id(ref_id).datasource(SOURCE)
    )
