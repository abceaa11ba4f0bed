"""Makes the Grafana dashboards in `streammeta/dashboards/grafana`: `python -m deploy.grafana`."""
