"""`streammeta tasks` and `streammeta export`: readers of a state, also while the daemon writes it.

What reads is imported when a verb runs, so that `--help` does not wait for torch.
"""

import json
import math
from pathlib import Path
from typing import Any, Final

import click

from streammeta.cli.formats import FORMAT
from streammeta.cli.new_files import NewFile
from streammeta.cli.saying import say
from streammeta.cli.state_options import state_option
from streammeta.cli.table import print_table
from streammeta.cli.task_changes import COMMANDS

Row = dict[str, Any]

NARROW: Final = ("task", "events", "staleness_events", "loss")
"""The columns of a terminal that has no room for all."""

SORTS: Final = {
    "task": lambda row: row["task"],
    "events": lambda row: -row["events"],
    "loss": lambda row: -math.inf if row["loss"] is None else -row["loss"],
    "staleness": lambda row: -math.inf if row["staleness_events"] is None else -row["staleness_events"],
    "drift": lambda row: -(row["drift_event"] or 0),
}
"""Worst, most and stalest first; of drift the last."""


@click.group()
def tasks() -> None:
    """What is known of each task, and how to have it forgotten."""


for command in COMMANDS:
    tasks.add_command(command)


@tasks.command("list")
@state_option
@click.option("--sort", type=click.Choice([*SORTS]), default="loss", show_default=True)
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True, help="How many; 0: all.")
@FORMAT
def list_tasks(directory: Path, sort: str, limit: int, form: str) -> None:
    """List tasks, the worst loss first.

    Example: streammeta tasks list --state state --sort staleness
    """
    from streammeta.cli.state_reading import rows_of

    rows = sorted(rows_of(directory), key=SORTS[sort])
    shown = rows[:limit] if limit else rows
    _print(shown, form)
    if form == "table" and len(shown) < len(rows):
        say(f"{len(shown)} of {len(rows)} tasks; --limit 0 shows all", err=True)


@tasks.command("show")
@click.argument("task", metavar="ID")
@state_option
@FORMAT
def show_task(task: str, directory: Path, form: str) -> None:
    """Show one task.

    Example: streammeta tasks show customer-17 --state state
    """
    from streammeta.cli.state_reading import one_row

    row = one_row(directory, task)
    if form == "json":
        say(json.dumps(row))
    else:
        for name, value in row.items():
            say(f"{name:17} {_cell(value)}")


@click.command()
@state_option
@click.option("--output", metavar="F.safetensors", required=True, type=NewFile(), help="The file.")
@click.option("--task", "names", metavar="ID", multiple=True, help="Its memory too; may be repeated.")
@click.option("--all-tasks", is_flag=True, help="All memories.")
def export(directory: Path, output: Path, names: tuple[str, ...], all_tasks: bool) -> None:
    """Write the model at the meta-parameters, and at task memories, as safetensors.

    meta/NAME is the whole state_dict, buffers and frozen parameters too; task/ID/NAME likewise for a task.
    No code of the model is run.

    Example: streammeta export --state state --task customer-17 --output model.safetensors
    """
    from streammeta.cli.state_reading import write_export

    for line in write_export(directory, output, names, all_tasks=all_tasks):
        say(f"{output}: {line}", err=True)


def _print(rows: list[Row], form: str) -> None:
    if form == "json":
        say(json.dumps(rows))
        return
    names = [*rows[0]] if rows else ["task", "events"]
    print_table(
        names,
        ([_cell(row[name]) for name in names] for row in rows),
        right=[place for place, name in enumerate(names) if name not in ("task", "last_seen")],
        narrow=[names.index(name) for name in NARROW if rows],
    )


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
