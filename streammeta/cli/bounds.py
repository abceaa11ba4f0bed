"""The options `--from` and `--to`: an offset or a time."""

from typing import Any

import click

from streammeta.recording.selection import Bound, parse_bound


class BoundType(click.ParamType):
    """An offset, or an RFC 3339 time."""

    name = "bound"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Bound:
        """The bound."""
        try:
            return parse_bound(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


FROM = click.option(
    "--from", "begin", metavar="OFFSET|TIME", type=BoundType(), help="Begin there: an offset, or a time as RFC 3339."
)
TO = click.option("--to", "end", metavar="OFFSET|TIME", type=BoundType(), help="End before it.")
