"""Every suite at its smallest: it runs, and gives figures of the right kind. None is compared with a time."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from streammeta.benchmarks import batch, conv, library, step
from streammeta.benchmarks.aims import judged
from streammeta.benchmarks.apart import apart
from streammeta.benchmarks.hops import AROUND, HOPS, LOOP, POLL, STEP, hops
from streammeta.benchmarks.learners import CHUNK, Learner
from streammeta.benchmarks.memory import memory
from streammeta.benchmarks.peers.catalogue import why_missing
from streammeta.benchmarks.peers.problem import Problem, problem
from streammeta.benchmarks.pipeline import NUMPY, OURS, TORCHOPT, pipeline
from streammeta.benchmarks.recording import recording
from streammeta.benchmarks.rows import Plan, Row
from streammeta.benchmarks.start import PARTS, start
from streammeta.benchmarks.tasks import drawn_tasks, tasks
from streammeta.config import Config, load_config
from streammeta.errors import ConfigError
from streammeta.learner.executors.cache import Cache
from streammeta.learner.executors.compiled import CompiledSteps

SMALL: Final = Plan("small")


def values(rows: Sequence[Row], aims_of: str = "") -> dict[str, float]:
    """Name -> figure, of those that there are; each is a positive, finite number of some unit.

    Every aim of the suite `aims_of` finds its row among them.
    """
    assert all(found.measured for found in judged([(aims_of, row) for row in rows]))
    assert all(row.unit for row in rows)
    assert all(row.note for row in rows if row.value is None)
    found = {row.name: row.value for row in rows if row.value is not None}
    assert all(math.isfinite(value) and value > 0 for value in found.values()), found
    return found


def test_step_sets_the_engine_beside_its_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is told with its reason; ratios are those of the figures; conv4 has its passes."""
    there = why_missing
    monkeypatch.setattr(
        step, "why_missing", lambda peer: f"{peer.package} left out" if peer.package == "jax" else there(peer)
    )
    rows = [*step.step(SMALL)]
    found = values(rows)
    assert "jax left out" in {row.note for row in rows}
    assert "small" in next(row.note for row in rows if row.name == step.STEP)
    numpy = "NumPy by hand, MOML"
    ratio = found[f"{numpy} / {step.TRACED}"]
    assert math.isclose(ratio, found[numpy] / found[step.TRACED])
    traced = "conv4, engine, traced steps"
    assert math.isclose(found[f"{conv.PASSES} / {traced}"], found[conv.PASSES] / found[traced])


def test_a_compiled_step_that_is_refused_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures of the traced one stand: rounding in convolutions may lie above what is allowed."""

    def refused(made: Problem, compiled: CompiledSteps | None, config: Config) -> Learner:
        if compiled is not None:
            raise ConfigError("the step gives other predictions")
        return Learner(made, None, config)

    monkeypatch.setattr(conv, "Learner", refused)
    rows = [*conv.conv4(SMALL, CompiledSteps(Cache(tmp_path), compiler="none"))]
    assert next(row.note for row in rows if row.name == conv.COMPILED) == "the step gives other predictions"
    assert f"{conv.PASSES} / conv4, engine, traced steps" in values(rows)


def test_batch_is_measured_and_equals_the_plain_loop() -> None:
    """Its difference is told with its figures, and lies within what is allowed."""
    found = values([*batch.batch(SMALL)], "batch")
    assert found[f"{batch.ENGINE}, off the plain loop by"] <= batch.TOLERANCE
    assert found[batch.ENGINE] < found[batch.STRICT]


def test_a_batch_that_is_off_the_plain_loop_ends_the_suite() -> None:
    """A learner at another inner rate is refused."""
    made = problem(CHUNK, known=batch.KNOWN)
    made = replace(made, tasks=[*range(batch.KNOWN)])
    wrong = load_config(None, [f"events.batch={batch.BATCH}", "algorithm.inner_lr=0.0101"], {})
    with pytest.raises(ArithmeticError, match="off the plain loop"):
        batch.difference(Learner(made, None, wrong), made)


@pytest.mark.usefixtures("_broker")
def test_pipeline_sets_the_daemon_beside_consumers_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds an event of each on the same topic; the broker is named; a peer that is missing is told."""
    monkeypatch.setattr("streammeta.benchmarks.pipeline.find_spec", lambda name: name != "torchopt" or None)
    rows = [*pipeline(SMALL)]
    found = values(rows)
    assert next(row for row in rows if row.name == OURS).note == "embedded broker"
    assert "torchopt" in next(row.note for row in rows if row.name == TORCHOPT)
    assert math.isclose(found[f"{NUMPY} / {OURS}"], found[NUMPY] / found[OURS])
    assert math.isclose(found[f"{OURS}, at that rate"], 1e6 / found[OURS])


def test_without_a_broker_the_suites_that_need_one_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row without a figure, with the reason."""
    monkeypatch.setattr("streammeta.stream.embedded.broker._binary", lambda: None)
    for suite in (pipeline, hops, start):
        (row,) = suite(SMALL)
        assert row.value is None
        assert "quickstart" in row.note


@pytest.mark.usefixtures("_broker")
def test_hops_add_up_to_an_event() -> None:
    """Each hop is met; together they are the event, and but for two of them the Python around the step."""
    found = values([*hops(SMALL)], "hops")
    parts = {name: found[name] for name in (*HOPS, LOOP)}
    assert math.isclose(sum(parts.values()), found["an event in all, watched"], rel_tol=1e-6)
    around = sum(cost for name, cost in parts.items() if name not in (POLL, STEP))
    assert math.isclose(around, found[AROUND], rel_tol=1e-6)
    assert found[STEP] > found["gather"]


def test_tasks_compares_many_known_tasks_with_few() -> None:
    """Time and memory of each way to draw them."""
    found = values([*tasks(SMALL)], "tasks")
    few, many = found["event, 10 tasks"], found["event, 100 tasks, uniform"]
    assert math.isclose(found["event, 100 tasks, uniform / 10 tasks"], many / few)
    assert found["peak resident memory, 100 tasks, Zipf(1.1)"] > 10


def test_tasks_are_drawn_as_they_are_called() -> None:
    """Uniformly: all alike. By Zipf's law: the second comes 2^-1.1 times as often as the first."""
    uniform, zipf = (
        np.bincount(drawn_tasks(50, 100_000, how, 3), minlength=50) for how in ("uniform", "zipf")
    )
    assert abs(uniform - 2000).max() < 250
    assert len(zipf) == 50
    assert math.isclose(zipf[1] / zipf[0], 2**-1.1, rel_tol=0.05)
    assert math.isclose(zipf[9] / zipf[0], 10**-1.1, rel_tol=0.1)


def test_memory_is_told_over_a_stream_and_by_algorithm() -> None:
    """Megabytes at both ends; what MOML keeps per task is the network."""
    found = values([*memory(SMALL)], "memory")
    begin, end = (found[f"100 events: resident memory {at}"] for at in ("after 2 tenths", "at the end"))
    assert math.isclose(found["100 events: resident memory, end / 2 tenths"], end / begin)
    assert begin > 50
    assert found["moml: kept per task"] == 1761


@pytest.mark.usefixtures("_broker")
def test_start_tells_its_parts_in_their_order() -> None:
    """Seconds that rise from part to part, with few tasks and with many."""
    found = values([*start(SMALL)], "start")
    for known in ("10", "100"):
        seconds = [found[f"{known} tasks, {part}"] for part in PARTS]
        assert seconds == sorted(seconds)


def test_library_sets_a_program_beside_the_engine() -> None:
    """Event by event, many at once, the engine; ratios are those of the figures; no step is told."""
    rows = [*library.library(SMALL)]
    found = values(rows)
    assert math.isclose(
        found[f"{library.ENGINE} / {library.LEARN}"], found[library.ENGINE] / found[library.LEARN]
    )
    assert found[library.PREDICT] > 0
    assert next(row for row in rows if row.name == library.STEP).note


def test_recording_tells_rates_and_the_recorders_share() -> None:
    """The recorder takes a part of an event's time, not all of it."""
    found = values([*recording(SMALL)])
    assert 0 < found["its share of the learner's time"] < 1
    assert found["on the disk, an event"] < 100


def test_a_measurement_apart_is_another_process() -> None:
    """Arguments and results are JSON; what fails there fails here."""
    assert apart("builtins", "dict", one=[1.5, "two"]) == {"one": [1.5, "two"]}
    with pytest.raises(RuntimeError, match=r"operator\.no_such"):
        apart("operator", "no_such")
