"""`streammeta replay`: a recording into the learner, onto a topic, or into several configurations."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import click

from streammeta.cli.bounds import FROM, TO
from streammeta.cli.config_options import state_sources
from streammeta.cli.formats import FORMAT
from streammeta.cli.new_files import PICTURE
from streammeta.cli.replay_compare import tell_compared
from streammeta.cli.replay_plan import tell_plan
from streammeta.cli.replay_to_kafka import put_back
from streammeta.cli.run import live_console
from streammeta.cli.saying import say
from streammeta.config import Config, load_config
from streammeta.evaluation.prequential import WINDOW
from streammeta.observe.catalogue import PHASE_TITLES
from streammeta.observe.snapshot import Snapshot
from streammeta.programs.replay import replay as learn
from streammeta.recording.reader import Recording
from streammeta.recording.selection import Bound, Selection
from streammeta.wording import counted


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
@state_sources
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
@click.option("--plot", metavar="F.png", type=PICTURE, help="--compare: draw them too; or .svg, .pdf.")
@FORMAT
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
    form: str,
) -> None:
    """Learn from the recording in DIR, as fast as it goes, into state.dir: the same bits at every replay.

    What `run --record` kept is learned in the same order and the same iterations. Stopped or killed, the same
    command goes on. With --to-kafka the records go to a topic instead. With --compare several configurations
    learn from them: streammeta replay DIR --compare A.toml B.toml

    Example: streammeta replay recording --config learner.toml --state replayed
    """
    _refuse_mixtures(ctx, comparing=comparing, files=files, path=path, topic=topic, from_state=from_state)
    recording = Recording(directory)
    selection = Selection(begin, end, frozenset(task.encode() for task in tasks), frozenset(without))
    if dry_run:
        tell_plan(recording, selection, speed if topic else math.inf, form)
    elif comparing:
        configs = {str(file): load_config(file, overrides) for file in files}
        tell_compared(recording, selection, configs, plot, form)
    elif topic is not None:
        put_back(load_config(path, overrides), recording, selection, topic, speed, again, form)
    else:
        config = load_config(path, overrides)
        console = live_console(config)
        last = learn(config, recording, selection, from_state=from_state, port=port, console=console)
        _tell_learned(last, config, form)


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


def _tell_learned(last: Snapshot, config: Config, form: str) -> None:
    if form == "json":
        say(json.dumps(last))
        return
    outcomes, seconds = last["outcomes"], last["uptime_seconds"]
    refused = ", ".join(f"{reason} {count:,}" for reason, count in last["dead_letters"].items() if count)
    say(
        f"replayed {last['replayed'] or 0.0:.0%}: {counted(outcomes['learned'], 'event')} learned, "
        f"{outcomes['dead_letter']:,} refused{f' ({refused})' if refused else ''} in {seconds:,.1f} s, "
        f"{outcomes['learned'] / seconds:,.0f} events/s; state in {config.state.dir}"
    )
    if not any(outcomes.values()):
        say("nothing was new: all that is wanted was replayed before, or --task, --from, --to want nothing")
    for line in _scores(last):
        say(line)


def _scores(last: Snapshot) -> Iterator[str]:
    """The prequential means that are known, a line each."""
    for phase, loss in last["losses"].items():
        if loss["now"] is not None and loss["first"] is not None:
            yield (
                f"prequential loss {PHASE_TITLES[phase]}: {loss['first']:.4g} at first, "
                f"{loss['now']:.4g} at the end (fading mean), {loss['window']:.4g} "
                f"over the last {WINDOW:,} events"
            )
    for phase, accuracy in last["accuracies"].items():
        if accuracy["now"] is not None:
            yield (
                f"prequential accuracy {PHASE_TITLES[phase]}: {accuracy['now']:.3f} at the end, "
                f"{accuracy['window']:.3f} over the last {WINDOW:,} events"
            )
    forgetting = last["forgetting"]
    if forgetting["rise"] is not None:
        yield (
            f"loss on tasks' own earlier query sets: {forgetting['loss_earlier']:.4g}, "
            f"{forgetting['rise']:+.4g} since they were learned from (forgetting)"
        )
