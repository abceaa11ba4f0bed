"""`--format`: a table for people, or data; and what it was called before."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

_OLD: Final = "streammeta.format"
_FORMER: Final = {"text": "table"}
"""Values of earlier versions."""


def format_option(*forms: str, name: str = "--format", help_text: str = "") -> Callable[[Command], Command]:
    """The option that gives a command `form`, the first of `forms` unless asked for another.

    `--output` was its name up to version 0.1, and goes on for one version, with a warning.
    """
    now = click.option(
        name,
        "form",
        type=click.Choice(forms),
        default=forms[0],
        show_default=True,
        callback=_chosen,
        help=help_text or None,
    )
    former = [word for word, word_now in _FORMER.items() if word_now in forms]
    before = click.option(
        "--output",
        type=click.Choice([*forms, *former]),
        hidden=True,
        expose_value=False,
        is_eager=True,  # so that it is known when the new name is looked at
        callback=_warned(name),
    )
    return lambda command: now(before(command))


def _warned(name: str) -> Callable[[click.Context, click.Parameter, str | None], None]:
    def warn(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
        if value is not None:
            form = _FORMER.get(value, value)
            ctx.meta[_OLD] = form
            click.echo(
                f"--output {value} is now {name} {form}; the old name goes with the next version", err=True
            )

    return warn


def _chosen(ctx: click.Context, param: click.Parameter, value: str) -> str:
    given = ctx.get_parameter_source(str(param.name)) is not click.core.ParameterSource.DEFAULT
    return value if given else str(ctx.meta.get(_OLD, value))


FORMAT = format_option("table", "json")
"""Where rows are told."""
