"""Writes k8s/fraudstream/dashboards/*.json from scripts/dashboards.py: `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, TooltipDisplayMode
from grafana_foundation_sdk.models.dashboard import DashboardLinkType, DataSourceRef, VariableHide, VariableRefresh

from scripts.dashboards import DASHBOARDS, Dashboard, Panel

FOLDER = Path(__file__).resolve().parents[1] / "k8s" / "fraudstream" / "dashboards"
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
HEIGHTS = {"stat": 4, "timeseries": 8, "bars": 8}


def built(page: Dashboard) -> str:
    """The page as Grafana reads it."""
    board = (
        dashboard.Dashboard(page.title)
        .uid(page.uid)
        .description(page.says)
        .tags(["fraudstream"])
        .refresh("10s")
        .time("now-1h", "now")
        .timezone("browser")
        .readonly()
        .link(
            dashboard.DashboardLink("fraudstream")
            .type(DashboardLinkType.DASHBOARDS)
            .tags(["fraudstream"])
            .keep_time(True)
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .with_variable(
            dashboard.QueryVariable("namespace")
            .label("Namespace")
            .datasource(SOURCE)
            .query("label_values(fraudstream_build_info, namespace)")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .include_all(True)
            .all_value(".*")
            .hide(VariableHide.DONT_HIDE)
        )
    )
    for panel in page.panels:
        board = board.with_panel(_panel(panel))
    return JSONEncoder(sort_keys=True, indent=2).encode(board.build()) + "\n"


def _panel(panel: Panel) -> Any:
    kinds: dict[str, Any] = {"stat": stat.Panel, "bars": bargauge.Panel, "timeseries": timeseries.Panel}
    shape = kinds[panel.kind]()
    shape = (
        shape.title(panel.title)
        .description(panel.says)
        .datasource(SOURCE)
        .unit(panel.unit)
        .span(panel.width)
        .height(HEIGHTS[panel.kind])
        .min(0)
    )
    if isinstance(shape, timeseries.Panel):
        legend = (
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        shape = shape.legend(legend).tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        shape = shape.line_width(1).fill_opacity(8)
    for at, (expr, legend_text) in enumerate(panel.queries):
        query = prometheus.Dataquery().expr(expr).legend_format(legend_text).ref_id(chr(ord("A") + at))
        shape = shape.with_target(query.instant() if panel.kind != "timeseries" else query.range())
    return shape


def main() -> int:
    """Writes them all.

    Returns:
        0
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    for page in DASHBOARDS:
        (FOLDER / f"{page.uid}.json").write_text(built(page), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
