"""`streammeta bench`: the benchmark suite of this machine."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final, get_args

import click

from streammeta.benchmarks.aims import Judged, judged
from streammeta.benchmarks.batch import batch
from streammeta.benchmarks.comparison import Earlier, Named, described, document
from streammeta.benchmarks.hops import hops
from streammeta.benchmarks.library import library
from streammeta.benchmarks.memory import memory
from streammeta.benchmarks.pages import pages
from streammeta.benchmarks.pipeline import pipeline
from streammeta.benchmarks.predictions import predictions
from streammeta.benchmarks.ranks import ranks
from streammeta.benchmarks.recording import recording
from streammeta.benchmarks.rows import Plan, Row, Size, Suite, absent
from streammeta.benchmarks.start import start
from streammeta.benchmarks.step import step
from streammeta.benchmarks.tasks import tasks
from streammeta.cli.formats import FORMAT
from streammeta.cli.saying import say
from streammeta.cli.table import print_table
from streammeta.errors import StreammetaError

SUITES: Final[dict[str, Suite]] = {
    "step": step,
    "batch": batch,
    "pipeline": pipeline,
    "hops": hops,
    "tasks": tasks,
    "memory": memory,
    "start": start,
    "pages": pages,
    "predictions": predictions,
    "library": library,
    "recording": recording,
    "ranks": ranks,
}
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("names", nargs=-1, type=click.Choice([*SUITES]), metavar="[SUITE]...")
@click.option(
    "--size",
    type=click.Choice(get_args(Size)),
    default="usual",
    show_default=True,
    help="small: does everything run? full: a million tasks and events.",
)
@click.option("--bootstrap-servers", default="", help="A Kafka to measure with; else the embedded broker.")
@click.option("--rounds", type=click.IntRange(1), help="Of each figure; by default as many as it needs.")
@click.option("--omniglot", type=_FILE, help="An omniglot .npz for conv4; else images made up.")
@click.option("--compare", type=_FILE, help="An earlier run's --format json.")
@FORMAT
def bench(
    names: tuple[str, ...],
    size: Size,
    bootstrap_servers: str,
    rounds: int | None,
    omniglot: Path | None,
    compare: Path | None,
    form: str,
) -> None:
    """Measure this machine: all suites, or those named. Minutes; keep the machine quiet.

    Suites: step, batch, pipeline, hops, tasks, memory, start, pages, predictions, library, recording, ranks.
    Figures are medians of rounds by turns, their spread the middle half of the rounds. Ratios hold on a busy
    machine too, times do not.

    Example: streammeta bench step batch --format json > bench.json
    """
    plan = Plan(size, bootstrap_servers, rounds or 0, omniglot)
    earlier = Earlier(compare) if compare else None
    rows, failed = _measured(dict.fromkeys(names or SUITES), plan)
    if form == "json":
        say(json.dumps(document(plan, rows, earlier), allow_nan=False))
    else:
        _print(rows, earlier, plan)
    if failed:
        raise SystemExit(1)


def _measured(names: Iterable[str], plan: Plan) -> tuple[list[Named], bool]:
    """The rows of these suites, and whether one failed: it says so in a row, and costs the others nothing."""
    rows: list[Named] = []
    failed = False
    for name in names:
        say(f"{name} …", err=True)
        try:
            rows += ((name, row) for row in SUITES[name](plan))
        except (ArithmeticError, OSError, RuntimeError, StreammetaError) as error:
            failed = True
            rows.append((name, absent(f"{name} failed", "none", str(error))))
    return rows, failed


def _print(rows: list[Named], earlier: Earlier | None, plan: Plan) -> None:
    then = ["then", "now / then"] if earlier else []
    print_table(
        ("suite", "figure", "median", "unit", "middle half", "note", *then),
        ((suite, *_cells(row), *(_changed(suite, row, earlier) if earlier else ())) for suite, row in rows),
        right=[2],
        wraps=[1, 5],
    )
    if aims := judged(rows):
        print_table(("aim", "bound", "measured", ""), map(_aim, aims), wraps=[0])
    say(", ".join(f"{key} {value}" for key, value in described().items()))
    if earlier:
        for line in (f"compared with {earlier.taken}", *earlier.differences(plan)):
            say(line)


def _aim(judged: Judged) -> tuple[str, ...]:
    aim, measured, _, share = judged
    verdict = "" if share is None else "met" if share >= 1 else f"missed: {share:.2f} of it"
    words = "absent" if measured is None else _words(measured)
    return aim.words, f"{aim.kind} {_words(aim.bound)}", words, verdict


def _cells(row: Row) -> tuple[str, ...]:
    value = "absent" if row.value is None else _words(row.value)
    spread = "" if row.spread is None else f"{_words(row.spread[0])} to {_words(row.spread[1])}"
    return row.name, value, row.unit, spread, row.note


def _changed(suite: str, row: Row, earlier: Earlier) -> tuple[str, str]:
    change = earlier.change(suite, row)
    if change is None:
        return "", ""
    within = {True: "", False: ", within the spread", None: ""}[change.beyond_spread]
    return _words(change.earlier), f"{change.ratio:.3g}{within}"


def _words(value: float) -> str:
    return f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}"
