"""`--config`, `--set` and what is short for one setting: `--log-level`, `--state`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

LEVELS: Final = ("debug", "info", "warning", "error")
_SHORT: Final = "streammeta.settings"


def _short_for(setting: str) -> Callable[[click.Context, click.Parameter, str | None], None]:
    """Keep the value for `--set`, whose callback comes later; a JSON string is a TOML string."""

    def keep(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
        if value is not None:
            text = f"{setting}={json.dumps(value, ensure_ascii=False)}"
            ctx.meta.setdefault(_SHORT, []).append(text)

    return keep


def _with_short(ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    return (*values, *ctx.meta.get(_SHORT, ()))


FILE = click.option(
    "--config", "path", metavar="F", type=click.Path(path_type=Path), help="A TOML file; default: none."
)
_SETTINGS = click.option(
    "--set",
    "overrides",
    metavar="SECTION.KEY=VALUE",
    multiple=True,
    callback=_with_short,
    help="One setting, over file and environment; may be repeated.",
)
_LEVEL = click.option(
    "--log-level",
    type=click.Choice(LEVELS),
    expose_value=False,
    is_eager=True,
    callback=_short_for("log.level"),
    help="Short for --set log.level=…",
)
STATE_DIR = click.option(
    "--state",
    metavar="DIR",
    expose_value=False,
    is_eager=True,
    callback=_short_for("state.dir"),
    help="Short for --set state.dir=…",
)


def config_sources(command: Command) -> Command:
    """The options that say what configuration is meant."""
    return FILE(_SETTINGS(_LEVEL(command)))


def state_sources(command: Command) -> Command:
    """The same, of what writes the state that it names."""
    return FILE(_SETTINGS(STATE_DIR(_LEVEL(command))))
