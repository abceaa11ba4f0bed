"""All checks of a configuration, one after the other: this machine, then the broker, then its records."""

from collections.abc import Generator, Iterator, Sequence

from streammeta.config import Config
from streammeta.errors import ConfigError, StateError
from streammeta.events import Record
from streammeta.models.trial import try_at_start
from streammeta.programs.doctor.check import Check, fault, ok
from streammeta.programs.doctor.content import of_content
from streammeta.programs.doctor.lesson import of_learning
from streammeta.programs.doctor.local import copied, of_machine
from streammeta.programs.doctor.stream import of_positions, of_stream
from streammeta.programs.tried import model_lines
from streammeta.runtime.blueprint import Blueprint, build_blueprint
from streammeta.state.checkpoint import Checkpoint
from streammeta.state.memory_store import MemoryStore


def examine(config: Config, count: int) -> Iterator[Check]:
    """The checks, each told as soon as it is made. Changes nothing.

    Every wait for the broker ends after `kafka.connect_timeout_seconds`. A check whose ground is missing (the
    records of a topic that cannot be read) is left out.

    Args:
        config: The configuration.
        count: How many of the newest records are looked at.
    """
    config = _uncompiled(config)
    blueprint = yield from of_model(config)
    begun = yield from of_machine(config, blueprint)
    seen = yield from of_stream(config.kafka, count, config.predict.output_topic)
    if seen is None:
        return
    if begun is not None and begun.positions:
        yield of_positions(config.kafka, begun, seen)
    if seen.records:
        yield from of_records(config, blueprint, begun, seen.records)


def _uncompiled(config: Config) -> Config:
    """The same, computed without machine code: that would take long, and leave files behind."""
    return config.model_copy(update={"engine": config.engine.model_copy(update={"compile": "off"})})


def of_model(config: Config) -> Generator[Check, None, Blueprint | None]:
    """The model, its loss and its device, built and called."""
    try:
        blueprint = build_blueprint(config)
        lines = list(model_lines(config, blueprint.network, try_at_start(blueprint.network)))
    except ConfigError as error:
        yield fault("model", error)
        return None
    yield ok(
        "model",
        "\n".join(line.removeprefix("model: ") for line in lines),
        parameters=blueprint.network.dimension,
    )
    return blueprint


def of_records(
    config: Config, blueprint: Blueprint | None, begun: Checkpoint | None, records: Sequence[Record]
) -> Iterator[Check]:
    """What the records hold, and what is learned from those that can be read."""
    content, readable = of_content(config, records)
    yield content
    if blueprint is None or not readable:
        return
    try:
        copy = MemoryStore() if begun is None else copied(config.state.dir, _tasks(readable))
    except StateError as error:
        yield fault("learning", error)
        return
    yield of_learning(config, blueprint, copy, readable)


def _tasks(records: Sequence[Record]) -> set[str]:
    return {record.key.decode() for record in records if record.key is not None}
