"""Write the dashboards where the package keeps them."""

from deploy.grafana.dashboards import DASHBOARDS, as_json
from streammeta.dashboards.bundle import GRAFANA_DASHBOARDS

if __name__ == "__main__":
    for dashboard in DASHBOARDS:
        (GRAFANA_DASHBOARDS / f"{dashboard.name}.json").write_text(as_json(dashboard), encoding="utf-8")
