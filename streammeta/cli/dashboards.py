"""`streammeta dashboards`: what shows the daemon in Prometheus and Grafana."""

from pathlib import Path

import click

from streammeta.cli.saying import say
from streammeta.dashboards.bundle import export as export_bundle


@click.group()
def dashboards() -> None:
    """Grafana dashboards, Prometheus rules and alerts."""


@dashboards.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--force", is_flag=True, help="Overwrite files that differ.")
def export(directory: Path, force: bool) -> None:
    """Write dashboards, provisioning, recording rules, alerts and the runbook into DIR.

    Prints the files that were written; those already there and the same are left alone.

    Example: streammeta dashboards export monitoring
    """
    for path in export_bundle(directory, force=force):
        say(path)
