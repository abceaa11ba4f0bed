"""The options `--from` and `--to`: an offset or a time."""

import click

from streammeta.recording.selection import Bound, parse_bound


def _bound(_ctx: click.Context, _param: click.Parameter, text: str | None) -> Bound | None:
    try:
        return parse_bound(text) if text is not None else None
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


FROM = click.option(
    "--from",
    "begin",
    metavar="OFFSET|TIME",
    callback=_bound,
    help="Begin there: an offset, or a time as RFC 3339.",
)
TO = click.option("--to", "end", metavar="OFFSET|TIME", callback=_bound, help="End before it.")
