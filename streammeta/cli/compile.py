"""`streammeta compile`: compiled steps ahead of time, so that the daemon begins with them."""

import json
from dataclasses import asdict
from pathlib import Path

import click
import torch

from streammeta.cli.config_options import config_sources
from streammeta.cli.formats import FORMAT
from streammeta.cli.saying import say
from streammeta.config import load_config
from streammeta.errors import BadEvent, ConfigError
from streammeta.events import Batch, Episode
from streammeta.learner.executors.compiled import Compiled, CompiledSteps
from streammeta.learner.executors.process import TracedStep
from streammeta.learner.flat import state_tensors
from streammeta.observe.logs import configure_logging
from streammeta.runtime.blueprint import Blueprint, build_blueprint
from streammeta.runtime.compiling import compiled_steps_cache, kept_traces

Shape = tuple[int, ...]


class ShapeOption(click.ParamType[Shape]):
    """The shape of one example: `1`, `3,28,28`, or nothing for a single number."""

    name = "shape"

    def convert(self, value: str | Shape, param: click.Parameter | None, ctx: click.Context | None) -> Shape:
        """Read it."""
        if isinstance(value, tuple):
            return value
        sizes = [size.strip() for size in value.split(",") if size.strip()]
        if not all(size.isdecimal() and int(size) > 0 for size in sizes):
            self.fail(f"{value!r}: sizes above 0, separated by commas", param, ctx)
        return tuple(map(int, sizes))


@click.command()
@config_sources
@click.option("--x", type=ShapeOption(), required=True, help="Shape of one input: 1, or 3,28,28.")
@click.option("--y", type=ShapeOption(), help="Shape of one label; default: none for classes, else 1.")
@click.option("--support", type=click.IntRange(1), help="Examples in a support set; default: events.support.")
@click.option("--query", type=click.IntRange(1), help="Examples in a query set; default: events.query.")
@FORMAT
def compile(  # noqa: A001 (the verb)
    path: Path | None,
    overrides: tuple[str, ...],
    x: Shape,
    y: Shape | None,
    support: int | None,
    query: int | None,
    form: str,
) -> None:
    """Compile the step for episodes of one shape, and keep it, and its trace, in engine.cache_dir.

    Takes 30 to 120 s; nothing where it is kept already. The daemon finds it on every machine with the same
    processor, the same torch and the same model.threads, and needs no compiler there.

    Example: streammeta compile --config learner.toml --x 1
    """
    config = load_config(path, overrides)
    configure_logging(config.log.level, config.log.format)
    kept = kept_traces(config)
    blueprint = build_blueprint(config, kept=kept)
    labels = (() if blueprint.network.takes_classes else (1,)) if y is None else y
    counts = (support or config.events.support, query or config.events.query)
    step = _step(blueprint, config.events.batch, counts, x, labels)
    steps = CompiledSteps(compiled_steps_cache(config))
    try:
        compiled = steps.require(step)
    finally:
        steps.close()
    if kept is not None:
        _prove(blueprint, step)
    _tell(compiled, form)


def _step(blueprint: Blueprint, batch: int, counts: tuple[int, int], x: Shape, y: Shape) -> TracedStep:
    network = blueprint.network
    numbers = torch.int64 if network.keeps_integers else network.dtype
    classes = torch.int64 if network.takes_classes else network.dtype
    episode = Episode(
        *(
            Batch(torch.zeros(batch, count, *x, dtype=numbers), torch.zeros(batch, count, *y, dtype=classes))
            for count in counts
        )
    )
    state = blueprint.learner.init(network.initial)
    try:
        traced = blueprint.steps.traced(state, episode)
    except BadEvent as error:
        raise ConfigError(f"--x, --y: {error}") from error
    if traced is None:
        raise ConfigError("the step of these shapes is not traced, so it cannot be compiled")
    return TracedStep(*traced, len(state_tensors(state)), blueprint.steps.predicts)


def _prove(blueprint: Blueprint, step: TracedStep) -> None:
    """Compare the trace with the plain step, as the daemon does at its first event: then it is kept."""
    generator = torch.Generator().manual_seed(0)
    arrays = [
        torch.randn(array.shape, dtype=array.dtype, generator=generator)
        if array.is_floating_point()
        else array
        for array in step.inputs[-4:]
    ]
    state = blueprint.learner.init(blueprint.network.initial)
    blueprint.steps.update(state, [*step.inputs[:-4], *arrays])


def _tell(compiled: Compiled, form: str) -> None:
    library = compiled.library
    cost = library.microseconds[library.form]
    if form == "json":
        about = library._asdict() | asdict(library.conditions) | {"path": str(library.path)}
        del about["conditions"]
        say(json.dumps(about))
    else:
        say(f"compiled:{compiled.name}")
        say(f"{cost:.1f} µs an iteration, form {library.form}; compiled in {library.seconds:.0f} s")
        say(str(library.path))
