"""How `produce table` reads, from its options, and what it tells of what it left out."""

import codecs
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from streammeta.datasets.table import Tally
from streammeta.datasets.table_cells import Notation
from streammeta.datasets.table_data import Missing, Reading
from streammeta.datasets.table_files import Dialect
from streammeta.datasets.table_times import TimeUnit

WARM_UP: Final = 5


def gap(_ctx: click.Context, _param: click.Parameter, text: str | None) -> float | None:
    """A step of time above 0; `none` is an endless one."""
    try:
        steps = math.inf if text == "none" else None if text is None else float(text)
    except ValueError:
        steps = math.nan
    if steps is not None and not steps > 0:
        raise click.BadParameter(f"{text!r} is no step of time above 0 (of dates: in seconds), nor 'none'")
    return steps


def reading_of(
    missing: Missing,
    na: tuple[str, ...],
    delimiter: str | None,
    decimal: str | None,
    encoding: str,
    timezone: str | None,
    ambiguous: Literal["fail", "order"],
    time_unit: TimeUnit | None,
    *,
    asks: bool,
) -> Reading:
    """The options as one; a usage error names the one that is wrong."""
    delimiter = {"\\t": "\t", "tab": "\t"}.get(delimiter or "", delimiter)
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise click.BadParameter(f"{delimiter!r} is not one character", param_hint="--delimiter")
    try:
        codecs.lookup(encoding)
        zone = None if timezone is None else ZoneInfo(timezone)
    except LookupError as error:
        if isinstance(error, ZoneInfoNotFoundError):
            raise click.BadParameter(
                f"{timezone!r} is no time zone, such as Europe/Berlin", param_hint="--timezone"
            ) from error
        raise click.BadParameter(f"{encoding!r} is no encoding", param_hint="--encoding") from error
    except ValueError as error:
        raise click.BadParameter(f"{timezone!r} is no time zone", param_hint="--timezone") from error
    notation = Notation(frozenset(text.strip() for text in na), decimal)
    return Reading(missing, Dialect(delimiter, encoding), notation, zone, time_unit, ambiguous, asks)


def told(skipped: Counter[str], tally: Tally) -> Iterator[str]:
    """Lines on what was not sent, and why."""
    for column, rows in skipped.items():
        yield f"skipped: {rows} rows without a value in column {column!r}"
    if tally.jumps:
        yield (
            f"time jumps: {tally.jumps.total()} in {len(tally.jumps)} tasks; a new window begins behind each "
            "(--gap)"
        )
    if tally.unasked:
        yield (
            f"not asked: {tally.unasked.total()} requests of {len(tally.unasked)} tasks that had shown too "
            "little before (--warm-up, --window)"
        )
    if tally.warm_up:
        yield (
            f"warm-up: {tally.warm_up.total()} first rows of {len(tally.warm_up)} tasks only scaled "
            "later ones and were not sent (--warm-up)"
        )


def counts_of(skipped: Counter[str], tally: Tally) -> dict[str, Any]:
    """The same for `--summary json`."""
    return {
        "rows_skipped": dict(skipped),
        "time_jumps": tally.jumps.total(),
        "rows_of_warm_up": tally.warm_up.total(),
        "asked": tally.asked,
        "not_asked": tally.unasked.total(),
    }
