"""`streammeta serve`: predictions and the page of a state that another process writes."""

from pathlib import Path

import click

from streammeta.cli.model_options import CONFIG, TRUST, Asked, blueprint_for, config_for
from streammeta.cli.state_options import STATE
from streammeta.cli.state_reading import opened
from streammeta.programs.serving import Served
from streammeta.programs.serving import serve as serve_state


@click.command()
@STATE
@CONFIG
@TRUST
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=9465, show_default=True, help="0 takes a free one."
)
@click.option("--token-file", metavar="F", default="", help="As http.token_file.")
def serve(directory: Path, path: Path | None, trust: bool, host: str, port: int, token_file: str) -> None:
    """Answer predictions from a state, and show its page, while its daemon runs or not.

    Each answer is of the last commit: POST /api/v1/predict. SIGTERM and SIGINT end it, exit 0.

    Example: streammeta serve --state state --port 9465
    """
    asked = Asked(directory, path, trust)
    with opened(directory) as (snapshot, checkpoint):
        config, constants = config_for(asked, checkpoint), snapshot.constants()
    network = blueprint_for(asked, checkpoint, constants).network
    serve_state(Served(directory, config, network, checkpoint.origin, host, port, token_file))
