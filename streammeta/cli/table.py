"""Tables that survive a pipe: whole cells where there is no terminal, its width kept where there is one."""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table

from streammeta.quoting import quoted_line

NO_LIMIT: Final = 100_000
"""Columns of a file, or of a pipe."""


def print_table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Collection[int] = (),
    narrow: Sequence[int] = (),
    wraps: Collection[int] = (),
    title: str | None = None,
) -> None:
    """Print rows of text below their headings; no cell is ever cut.

    Args:
        headings: One a column.
        rows: Text; what would steer a terminal is quoted.
        right: Columns of numbers.
        narrow: The columns of a terminal that has no room for all; none: all.
        wraps: Columns of sentences, which take further lines on a terminal.
        title: Above it.
    """
    console = Console(markup=False, highlight=False)
    cells = [[quoted_line(cell) for cell in row] for row in rows]
    room = console.width if console.is_terminal else NO_LIMIT
    console.size = (NO_LIMIT, console.height)  # else rich cuts what does not fit
    everything = range(len(headings))
    table = _table(headings, cells, everything, right, title)
    if narrow and console.measure(table).maximum > room:
        table = _table(headings, cells, narrow, right, title)
    if wraps and console.is_terminal:
        console.size = (room, console.height)
        for column, index in zip(table.columns, narrow or everything, strict=False):
            column.no_wrap = index not in wraps
    console.print(table)


def _table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    shown: Iterable[int],
    right: Collection[int],
    title: str | None,
) -> Table:
    shown = [*shown]
    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    for index in shown:
        table.add_column(headings[index], justify="right" if index in right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(row[index] for index in shown))
    return table
