"""Drift in the loop: detections and restarted memories are part of the state, wherever it is cut and killed."""

import random
from pathlib import Path

import pytest
import torch

from streammeta.config import Config
from streammeta.evaluation.drift import Detection
from streammeta.outcomes import Learned, Outcome
from tests.scripted import make_script
from tests.world import CONFIG, World

TOUCHY = {"min_visits": 2, "delta": 0.0, "threshold": 0.2, "confidence": 0.9, "check_visits": 1}
"""Settings that detect something in nearly every noise."""


def config_of(detector: str, *, action: str = "restart_memory", batch: int = 1) -> Config:
    """The world's, with drift looked for; earlier query sets are kept, so that visit numbers count."""
    sections = CONFIG.model_dump()
    sections["drift"] = {"detector": detector, "action": action, **TOUCHY}
    sections["events"] |= {"batch": batch, "forgetting_sets": 2}
    return Config.model_validate(sections)


def state_of(world: World) -> str:
    """All bits of meta-parameters, rows and progress, drift included."""
    checkpoint = world.checkpoint()
    raw = checkpoint.state.params.numpy().tobytes()
    return repr((raw, checkpoint.progress, checkpoint.positions, world.rows()))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("detector", ["page_hinkley", "adwin"])
def test_any_kills_give_the_same_bits(detector: str, batch: int, tmp_path: Path) -> None:
    """Rows leave RAM and come back, lives end anywhere: each task is restarted at the same visits."""
    script = make_script(3, partitions=2, tasks=6, events=110)
    config = config_of(detector, batch=batch)
    calm = World(script, tmp_path, config)
    assert calm.live(batch=lambda: 40)
    found = [row.stats.drift.detections for row in calm.rows().values()]
    assert sum(found) >= 3
    assert calm.checkpoint().progress.drift.detector is not None
    for seed in range(4):
        draws = random.Random(seed)
        killed = World(script, tmp_path, config)
        assert killed.live_killed((draws.randint(20, 90) for _ in range(4)), draws)
        assert state_of(killed) == state_of(calm)


def test_a_recording_replays_to_the_same_bits(tmp_path: Path) -> None:
    """Detections follow from the records."""
    world = World(
        make_script(4, partitions=2, tasks=6, events=80), tmp_path, config_of("adwin"), part_bytes=20_000
    )
    assert world.live()
    replayed = world.replayed()
    assert sum(row.stats.drift.detections for row in world.rows().values()) >= 3
    assert repr(replayed.rows()) == repr(world.rows())
    assert torch.equal(replayed.checkpoint().state.params, world.checkpoint().state.params)


def test_without_the_action_nothing_learned_changes(tmp_path: Path) -> None:
    """Off, or with action none: the same bits; restarting memories ends elsewhere."""
    script = make_script(3, partitions=2, tasks=6, events=110)
    sections = CONFIG.model_dump()
    sections["events"] |= {"forgetting_sets": 2}
    params = {}
    for name, config in (
        ("off", Config.model_validate(sections)),
        ("none", config_of("adwin", action="none")),
        ("restart", config_of("adwin")),
    ):
        world = World(script, tmp_path, config)
        assert world.live()
        params[name] = world.checkpoint().state.params
    assert torch.equal(params["off"], params["none"])
    assert not torch.equal(params["off"], params["restart"])


def test_observers_are_told_each_detection_once(tmp_path: Path) -> None:
    """With the event that told, in order; the counts in the state are those that were told."""
    told: list[Detection] = []

    def watch(outcome: Outcome) -> None:
        if isinstance(outcome, Learned):
            assert all(one.event in outcome.numbers for one in outcome.drifts)
            told.extend(outcome.drifts)

    world = World(make_script(3, partitions=2, tasks=6, events=110), tmp_path, config_of("page_hinkley"))
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
