"""Running streammeta: containers, orchestrators, and the script that makes the Grafana dashboards."""
