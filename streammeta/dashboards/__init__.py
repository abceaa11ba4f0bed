"""Grafana dashboards, Prometheus rules and alerts, a runbook: what `streammeta dashboards export` writes."""
