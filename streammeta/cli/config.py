"""`streammeta config`: a template, validation, effective values, the JSON Schema."""

import json
from pathlib import Path

import click

from streammeta.cli.config_options import state_sources
from streammeta.cli.formats import format_option
from streammeta.cli.saying import say
from streammeta.config.docs import page
from streammeta.config.load import load, load_config
from streammeta.config.schema import Config
from streammeta.config.show import as_data, as_toml
from streammeta.config.template import template
from streammeta.errors import ConfigError


@click.group()
def config() -> None:
    """Write, check and show configuration.

    A value comes from --set, else from STREAMMETA_SECTION__KEY, else from the file, else it is the default.
    """


@config.command()
@click.option(
    "--output",
    metavar="F",
    type=click.Path(path_type=Path),
    help="The file to write; default: standard output.",
)
@click.option("--force", is_flag=True, help="Overwrite the file.")
def init(output: Path | None, force: bool) -> None:
    """Write a commented template that holds every setting.

    Example: streammeta config init --output learner.toml
    """
    if output is None:
        say(template(), nl=False)
        return
    try:
        with output.open("w" if force else "x", encoding="utf-8") as file:
            file.write(template())
    except FileExistsError:
        raise ConfigError(
            f"--output {output}: exists; choose another name, or overwrite it with --force"
        ) from None
    except OSError as error:
        raise ConfigError(f"--output {output}: cannot be written: {error.strerror}") from error


@config.command()
@state_sources
def check(path: Path | None, overrides: tuple[str, ...]) -> None:
    """Say what was tried, then "ok"; or name every wrong setting and exit 78.

    With log.level = "debug" the traceback of an error in the model's code is shown.
    The model is built and called, its loss and device are tried, and each file that is named is opened. The
    broker is not asked: `streammeta run` does, when it starts.

    Example: streammeta config check --config learner.toml
    """
    # imported here: the other commands do not wait for torch
    from streammeta.observe.logs import configure_logging
    from streammeta.programs.tried import tried

    config = load_config(path, overrides)
    configure_logging(config.log.level, config.log.format)
    for line in tried(config):
        say(line)
    say("ok")


@config.command()
@state_sources
@format_option("toml", "json")
def show(path: Path | None, overrides: tuple[str, ...], form: str) -> None:
    """Show the effective values, secrets masked, and where each came from.

    Example: streammeta config show --config learner.toml --format json
    """
    loaded = load(path, overrides)
    text = json.dumps(as_data(loaded), indent=2) + "\n" if form == "json" else as_toml(loaded)
    say(text, nl=False)


@config.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors.

    Example: streammeta config schema > learner.schema.json
    """
    say(json.dumps(Config.model_json_schema(), indent=2))


@config.command()
def docs() -> None:
    """Print the reference of all settings, as a page in Markdown.

    Example: streammeta config docs > settings.md
    """
    click.echo(page(), nl=False)
