"""Drift in the loop: detections and restarted memories belong to the state, wherever it is cut and killed."""

import random
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from streammeta.codec import MSGPACK, encode_msgpack
from streammeta.config import Config
from streammeta.events import Record, episode_of
from streammeta.outcomes import Learned, Outcome
from tests.world import CONFIG, World

if TYPE_CHECKING:
    from streammeta.evaluation.drift import Detection

TASKS, EVENTS = 3, 66
TOUCHY = {"min_visits": 2, "delta": 0.0, "threshold": 0.1, "confidence": 0.9, "check_visits": 1}
"""Settings that detect something in nearly every noise."""


@cache
def script() -> list[Record]:
    """Three tasks in two partitions; after two thirds of the events their labels are of another size."""
    draws, arrays = random.Random(3), np.random.default_rng(3)
    records = []
    for number in range(EVENTS):
        task = draws.randrange(TASKS)
        x, y = arrays.normal(size=(2, 2, 3, 2))
        y *= 1.0 if number < EVENTS * 2 / 3 else 8.0
        value = encode_msgpack(episode_of(x[0], y[0, :, :1], x[1], y[1, :, :1]))
        headers = (("content-type", MSGPACK.encode()),)
        records.append(Record("tasks", task % 2, number, number, f"task-{task}".encode(), value, headers))
    return records


def config_of(detector: str, *, action: str = "restart_memory", batch: int = 1, sets: int = 0) -> Config:
    """The world's, with drift looked for and too little room in RAM for the tasks."""
    sections = CONFIG.model_dump()
    sections["drift"] = {"detector": detector, "action": action, **TOUCHY}
    sections["events"] |= {"batch": batch, "forgetting_sets": sets}
    sections["algorithm"]["beta"] = 0.9  # detectors bear more of a slow memory
    sections["state"] |= {"cache_tasks": 2}
    return Config.model_validate(sections)


def state_of(world: World) -> str:
    """All bits of meta-parameters, rows and progress, drift included."""
    checkpoint = world.checkpoint()
    raw = checkpoint.state.params.numpy().tobytes()
    return repr((raw, checkpoint.progress, checkpoint.positions, world.rows()))


@pytest.mark.parametrize(
    ("detector", "batch", "sets"), [("page_hinkley", 1, 2), ("page_hinkley", 3, 0), ("adwin", 1, 0)]
)
def test_any_kills_give_the_same_bits(detector: str, batch: int, sets: int, tmp_path: Path) -> None:
    """Rows leave RAM and come back, lives end anywhere: each task is restarted at the same visits.

    Earlier query sets are kept by the number of the visit, which a restart must not change.
    """
    config = config_of(detector, batch=batch, sets=sets)
    calm, killed = (World(script(), tmp_path, config, part_bytes=20_000) for _ in range(2))
    assert calm.live(batch=lambda: 40)
    assert sum(row.stats.drift.detections for row in calm.rows().values()) >= 2
    assert calm.checkpoint().progress.drift.detector is not None
    draws = random.Random(5)
    assert killed.live_killed((draws.randint(15, 60) for _ in range(4)), draws)
    assert state_of(killed) == state_of(calm)
    assert repr(calm.replayed().rows()) == repr(calm.rows())


def test_without_the_action_nothing_learned_changes(tmp_path: Path) -> None:
    """Off, or with action none: the same bits; restarting memories ends elsewhere."""
    params = {}
    for name, config in (
        ("off", config_of("off")),
        ("none", config_of("page_hinkley", action="none")),
        ("restart", config_of("page_hinkley")),
    ):
        world = World(script(), tmp_path, config)
        assert world.live()
        params[name] = world.checkpoint().state.params
        drift = world.checkpoint().progress.drift
        assert (drift.detector is None and not drift.detections) == (name == "off")
    assert torch.equal(params["off"], params["none"])
    assert not torch.equal(params["off"], params["restart"])


def test_observers_are_told_each_detection_once(tmp_path: Path) -> None:
    """With the event that told, in order; the counts in the state are those that were told."""
    told: list[Detection] = []

    def watch(outcome: Outcome) -> None:
        if isinstance(outcome, Learned):
            assert all(one.event in outcome.numbers for one in outcome.drifts)
            told.extend(outcome.drifts)

    world = World(script(), tmp_path, config_of("page_hinkley"))
    assert world.live(observers=(watch,))
    assert [one.event for one in told] == sorted(one.event for one in told)
    series = {"": world.checkpoint().progress.drift} | {
        task: row.stats.drift for task, row in world.rows().items()
    }
    for task, one in series.items():
        of_task = [detection for detection in told if detection.task == task]
        assert len(of_task) == one.detections
        if of_task:
            assert of_task[-1] == (task, one.last_event, one.loss_before, one.loss_after)
    assert len({one.task for one in told}) >= 3
