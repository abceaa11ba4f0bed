"""`streammeta replay`: a recording into the learner, onto a topic, or into several configurations."""

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import structlog
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from streammeta.cli.bounds import FROM, TO
from streammeta.cli.config import config_sources
from streammeta.cli.run import live_console
from streammeta.clock import Clock
from streammeta.config import Config, load_config
from streammeta.evaluation.prequential import WINDOW
from streammeta.observe.catalogue import PHASES
from streammeta.observe.logs import configure_logging
from streammeta.observe.status import Snapshot
from streammeta.programs.comparison import Curve, compare, draw
from streammeta.programs.replay import replay as learn
from streammeta.recording.reader import Recording
from streammeta.recording.selection import Bound, Selection
from streammeta.runtime.loop import Controls
from streammeta.runtime.signals import signals_to

EVERY_SECONDS = 10.0
"""Between two log lines, where no terminal shows the progress."""
HEADINGS = {
    "configuration": "configuration",
    "algorithm": "algorithm",
    "events": "events",
    "refused": "refused",
    "loss_meta": "loss at w",
    "loss_adapted": "adapted",
    "loss_memory": "memory",
    "accuracy_meta": "accuracy at w",
    "accuracy_adapted": "adapted",
    "accuracy_memory": "memory",
    "forgetting": "forgetting",
    "events_per_second": "events/s",
}
"""Of the table, where a configuration has a value."""


def _speed(_ctx: click.Context, _param: click.Parameter, text: str) -> float:
    """A factor over the original timing; infinity for max."""
    try:
        speed = math.inf if text == "max" else float(text)
    except ValueError:
        speed = math.nan
    if not speed > 0:
        raise click.BadParameter(f"{text!r} is neither max nor a number above 0 (0.5, 1, 10)")
    return speed


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("files", metavar="[CONFIG]...", nargs=-1, type=click.Path(path_type=Path))
@config_sources
@FROM
@TO
@click.option("--task", "tasks", metavar="ID", multiple=True, help="This task alone; may be repeated.")
@click.option("--without", metavar="PART", multiple=True, help="Leave out this part; may be repeated.")
@click.option(
    "--dry-run", is_flag=True, help="Check all parts that are needed, and tell what would be replayed."
)
@click.option(
    "--from-state",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Begin with a copy of this state, after it.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="HTTP; 0: any free one [0].")
@click.option("--to-kafka", "topic", metavar="TOPIC", help="Put the records on this topic; learn nothing.")
@click.option(
    "--speed",
    metavar="FACTOR|max",
    callback=_speed,
    default="1",
    show_default=True,
    help="--to-kafka: over the original timing.",
)
@click.option("--again", is_flag=True, help="--to-kafka: also what was put there before.")
@click.option(
    "--compare", "comparing", is_flag=True, help="Learn with each CONFIG, and compare their losses."
)
@click.option("--plot", metavar="F.png", type=click.Path(path_type=Path), help="--compare: draw them too.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_context
def replay(
    ctx: click.Context,
    directory: Path,
    files: tuple[Path, ...],
    path: Path | None,
    overrides: tuple[str, ...],
    begin: Bound | None,
    end: Bound | None,
    tasks: tuple[str, ...],
    without: tuple[str, ...],
    dry_run: bool,
    from_state: Path | None,
    port: int,
    topic: str | None,
    speed: float,
    again: bool,
    comparing: bool,
    plot: Path | None,
    output: str,
) -> None:
    """Learn from the recording in DIR, as fast as it goes, into state.dir: the same bits at every replay.

    What `run --record` kept is learned in the same order and the same iterations. Stopped or killed, the same
    command goes on. With --to-kafka the records go to a topic instead. With --compare several configurations
    learn from them: streammeta replay DIR --compare A.toml B.toml
    """
    _refuse_mixtures(ctx, comparing=comparing, files=files, path=path, topic=topic, from_state=from_state)
    recording = Recording(directory)
    selection = Selection(begin, end, frozenset(task.encode() for task in tasks), frozenset(without))
    if dry_run:
        _tell_plan(recording, selection, speed if topic else math.inf, output)
    elif comparing:
        configs = {str(file): load_config(file, overrides) for file in files}
        _compare(recording, selection, configs, plot, output)
    elif topic is not None:
        _put_back(load_config(path, overrides), recording, selection, topic, speed, again, output)
    else:
        config = load_config(path, overrides)
        console = live_console(config)
        last = learn(config, recording, selection, from_state=from_state, port=port, console=console)
        _tell_learned(last, config, output)


def _refuse_mixtures(
    ctx: click.Context,
    *,
    comparing: bool,
    files: tuple[Path, ...],
    path: Path | None,
    topic: str | None,
    from_state: Path | None,
) -> None:
    """Options that do not go together exit with 2."""
    if files and not comparing:
        ctx.fail(f"Got unexpected extra argument ({files[0]}): name it with --config, or --compare several.")
    if comparing and (not files or path or topic or from_state):
        ctx.fail(
            "--compare takes configurations as arguments, and neither --config, --to-kafka nor --from-state."
        )
    if topic and from_state:
        ctx.fail("--to-kafka learns nothing; --from-state does not go with it.")


def _tell_plan(recording: Recording, selection: Selection, speed: float, output: str) -> None:
    """What a replay would read; every needed part is checked whole."""
    recording.check(selection, whole=True)
    counts: dict[int, int] = {}
    first_ms, last_ms = math.inf, -math.inf
    for chunk in recording.chunks(0, selection):
        if chunk.rows:
            partitions, times = chunk.batch.column(0).to_numpy(), chunk.batch.column(2).to_numpy()
            for partition in partitions.tolist():
                counts[partition] = counts.get(partition, 0) + 1
            first_ms, last_ms = min(first_ms, times.min()), max(last_ms, times.max())
    total = sum(counts.values())
    plan = {
        "recording": str(recording.directory),
        "kind": recording.manifest.kind,
        "topic": recording.manifest.topic,
        "records": total,
        "of": recording.rows,
        "partitions": dict(sorted(counts.items())),
        "parts": len(recording.parts(selection)),
        "first": _time(first_ms) if total else None,
        "last": _time(last_ms) if total else None,
        "seconds": (last_ms - first_ms) / 1000 / speed if total else 0.0,
    }
    if output == "json":
        click.echo(json.dumps(plan))
        return
    for name, value in plan.items():
        click.echo(f"{name:11} {value if value is not None else '-'}")


def _time(milliseconds: float) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")


def _tell_learned(last: Snapshot, config: Config, output: str) -> None:
    if output == "json":
        click.echo(json.dumps(last))
        return
    outcomes, seconds = last["outcomes"], last["uptime_seconds"]
    refused = ", ".join(f"{reason} {count:,}" for reason, count in last["dead_letters"].items() if count)
    click.echo(
        f"replayed {last['replayed'] or 0.0:.0%}: {outcomes['learned']:,} events learned, "
        f"{outcomes['dead_letter']:,} refused{f' ({refused})' if refused else ''} in {seconds:,.1f} s, "
        f"{outcomes['learned'] / seconds:,.0f} events/s; state in {config.state.dir}"
    )
    if not any(outcomes.values()):
        click.echo(
            "nothing was new: all that is wanted was replayed before, or --task, --from, --to want nothing"
        )
    for line in _scores(last):
        click.echo(line)


def _scores(last: Snapshot) -> Iterator[str]:
    """The prequential means that are known, a line each."""
    for phase, loss in last["losses"].items():
        if loss["now"] is not None and loss["first"] is not None:
            yield (
                f"prequential loss, {phase}: {loss['first']:.4g} at first, {loss['now']:.4g} at the end "
                f"(fading mean), {loss['window']:.4g} over the last {WINDOW:,} events"
            )
    for phase, accuracy in last["accuracies"].items():
        if accuracy["now"] is not None:
            yield (
                f"accuracy, {phase}: {accuracy['now']:.3f} at the end, "
                f"{accuracy['window']:.3f} over the last {WINDOW:,} events"
            )
    forgetting = last["forgetting"]
    if forgetting["rise"] is not None:
        yield (
            f"loss on tasks' own earlier query sets: {forgetting['loss_earlier']:.4g}, "
            f"{forgetting['rise']:+.4g} since they were learned from (forgetting)"
        )


def _put_back(
    config: Config,
    recording: Recording,
    selection: Selection,
    topic: str,
    speed: float,
    again: bool,
    output: str,
) -> None:
    # Imported here, so that learning from a recording does not wait for kafka-python's producer.
    from streammeta.sending.replayer import Replayer, Timing, prepare, sender_of
    from streammeta.sending.transactions import Target

    configure_logging(config.log.level, config.log.format)
    recording.check(selection)
    controls, clock = Controls(), Clock()

    def keep_going() -> bool:
        return not controls.stop

    target = Target(config.kafka, topic, sender_of(recording, selection, topic))
    with signals_to(controls), _progress(f"to {topic}") as tell:
        prepare(target, recording, keep_going, clock)
        timing = Timing(None if math.isinf(speed) else speed, clock.monotonic)
        replayer = Replayer(target, timing, keep_going, clock)
        last = replayer.run(
            recording, selection, again=again, tell=lambda now: tell(now.next_row / max(1, recording.rows))
        )
    if output == "json":
        click.echo(json.dumps(asdict(last)))
        return
    rest = "" if last.done else "; the same command goes on"
    nothing = " (all were there; --again puts them there once more)" if last.done and not last.sent else ""
    click.echo(
        f"{last.sent:,} records ({last.bytes / 1e6:,.1f} MB) to {topic} in {last.seconds:,.1f} s"
        f"{nothing}{rest}"
    )


@contextmanager
def _progress(title: str) -> Iterator[Callable[[float], None]]:
    """A bar on a terminal; log lines elsewhere."""
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            bar = progress.add_task(title, total=1.0)
            yield lambda share: progress.update(bar, completed=share)
        return
    told_at = [time.monotonic()]

    def tell(share: float) -> None:
        if time.monotonic() - told_at[0] >= EVERY_SECONDS:
            told_at[0] = time.monotonic()
            structlog.get_logger().info("replaying", what=title, share=round(share, 4))

    yield tell


def _compare(
    recording: Recording, selection: Selection, configs: dict[str, Config], plot: Path | None, output: str
) -> None:
    configure_logging("warning", "console")
    controls = Controls()
    with signals_to(controls), _progress("replaying") as tell:
        curves = list(compare(recording, selection, configs, controls, lambda _name, share: tell(share)))
    if plot is not None:
        draw(curves, plot)
    rows = [_row(curve) for curve in curves]
    if output == "json":
        click.echo(json.dumps(rows))
        return
    shown = [name for name in HEADINGS if any(row[name] is not None for row in rows)]
    table = Table(*(HEADINGS[name] for name in shown), box=None, pad_edge=False)
    for column in table.columns[2:]:
        column.justify, column.no_wrap = "right", True
    for row in rows:
        table.add_row(*(_cell(row[name]) for name in shown))
    Console(markup=False, highlight=False).print(table)


def _row(curve: Curve) -> dict[str, Any]:
    """Losses are means over all events, accuracies and forgetting fading means; all before learning."""
    last = curve.last
    scores = {
        **{f"loss_{phase}": mean for phase, mean in curve.means.items()},
        **{f"accuracy_{phase}": mean.mean for phase, mean in zip(PHASES, last.accuracies, strict=True)},
        "forgetting": last.forgetting.mean,
    }
    return {
        "configuration": curve.name,
        "algorithm": curve.algorithm,
        "events": curve.events,
        "refused": curve.refused,
        **{name: score if math.isfinite(score) else None for name, score in scores.items()},
        "events_per_second": curve.events / curve.seconds if curve.seconds else 0.0,
    }


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}"
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
