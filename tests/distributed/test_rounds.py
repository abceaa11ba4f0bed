"""Rounds: what ranks learn apart is united exactly once, wherever they are cut, to the same bits."""

import random
from functools import cache
from pathlib import Path

import pytest

from tests.distributed.worlds import alike, config_of, copies, in_step, live, worlds_of
from tests.scripted import make_script
from tests.world import World

TASKS = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the order logs of this module."""
    return tmp_path_factory.mktemp("rounds")


@cache
def undisturbed(folder: Path, world: int = 2) -> tuple[World, ...]:
    """The ranks after one life that nothing cut."""
    script = make_script(1, partitions=4, tasks=TASKS, events=70)
    worlds = worlds_of(script, world, folder, config_of(round_events=6))
    assert live(worlds)
    return tuple(worlds)


@pytest.mark.parametrize("seed", range(12))
def test_any_kills_of_any_ranks_give_the_same_bits(seed: int, folder: Path) -> None:
    """Ranks killed at any moment, inside a round or between two commits too: as in the undisturbed life."""
    reference, draws = undisturbed(folder), random.Random(seed)
    worlds = copies(reference)
    for life in range(draws.randint(1, 5)):
        fuses = [draws.choice((-1, draws.randint(1, 150))) for _ in worlds]
        if live(worlds, fuses, seed=100 * seed + life):
            break
    assert live(worlds, seed=seed)
    assert alike(worlds, reference)
    assert in_step(worlds)
