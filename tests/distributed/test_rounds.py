"""Rounds: what ranks learn apart is united exactly once, wherever they are cut, to the same bits."""

import random
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from streammeta.algorithms.base import State
from streammeta.errors import ConfigError, StateError
from tests.distributed.meeting import Meeting
from tests.distributed.worlds import alike, config_of, copies, in_step, live, traced, worlds_of
from tests.scripted import make_script
from tests.world import World, batches_of, same

TASKS = 8


def params_of(state: State) -> Tensor:
    """Meta-parameters."""
    return state.params


def momentum_of(state: State) -> Tensor:
    """What the outer optimiser keeps."""
    return state.outer["momentum"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the order logs of this module."""
    return tmp_path_factory.mktemp("rounds")


@cache
def undisturbed(folder: Path, *, overlap: bool = False) -> tuple[World, ...]:
    """The ranks after one life that nothing cut."""
    script = make_script(1, partitions=4, tasks=TASKS, events=70)
    worlds = worlds_of(script, 2, folder, config_of(round_events=6, overlap=overlap))
    assert live(worlds)
    return tuple(worlds)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("overlap", [False, True])
def test_any_kills_of_any_ranks_give_the_same_bits(seed: int, overlap: bool, folder: Path) -> None:
    """Ranks killed at any moment, inside a round or between two commits too: as in the undisturbed life."""
    reference, draws = undisturbed(folder, overlap=overlap), random.Random(seed)
    worlds = copies(reference)
    for life in range(draws.randint(1, 5)):
        fuses = [draws.choice((-1, draws.randint(1, 150))) for _ in worlds]
        if live(worlds, fuses, seed=100 * seed + life):
            break
    assert live(worlds, seed=seed)
    assert alike(worlds, reference)
    assert overlap or in_step(worlds)


def test_every_event_is_learned_once_over_all_ranks(folder: Path) -> None:
    """Per task as many events as the script has without its poison, and the tasks of a rank are its own."""
    worlds = undisturbed(folder)
    good = [r for r in worlds[0].script + worlds[1].script if not (r.value or b"").startswith(b"\xc1")]
    refused = sum(sum(world.checkpoint().refused.values()) for world in worlds)
    counts = [{task: row.stats.events for task, row in world.rows().items()} for world in worlds]
    expected = {f"task-{i}": sum(r.key == f"task-{i}".encode() for r in good) for i in range(TASKS)}
    assert counts[0] | counts[1] == expected
    assert not counts[0].keys() & counts[1].keys()
    assert refused == 70 - len(good)


def test_the_mean_is_that_of_ranks_that_learned_alone(folder: Path) -> None:
    """One round: w and momentum are the means, weighted by events, of what single processes come to."""
    script = make_script(3, partitions=2, tasks=TASKS, events=30, poison=0.2)
    together = worlds_of(script, 2, folder, config_of(round_events=1000))
    apart = [World(world.script, folder) for world in together]
    assert live(together)
    assert all(world.live() for world in apart)
    states, events = zip(
        *[(w.checkpoint().state, w.checkpoint().progress.events) for w in apart], strict=True
    )
    assert events[0] != events[1]
    for pick in (params_of, momentum_of):
        mean = sum(pick(state) * count for state, count in zip(states, events, strict=True)) / sum(events)
        for world in together:
            torch.testing.assert_close(pick(world.checkpoint().state), mean, rtol=1e-12, atol=1e-12)
    assert [w.rows().keys() for w in together] == [w.rows().keys() for w in apart]


def test_uniform_weights_count_ranks_not_events(folder: Path) -> None:
    """With `weights = "uniform"` each rank that learned weighs the same, one that did not nothing."""
    script = make_script(3, partitions=3, tasks=9, events=30, poison=0.0)
    few = [r for r in script if r.partition != 1] + [r for r in script if r.partition == 1][:2]
    none = [r for r in few if r.partition != 2]
    together = worlds_of(none, 3, folder, config_of(round_events=1000, weights="uniform"))
    together[2].script = [r._replace(value=b"\xc1poison") for r in script if r.partition == 2]
    apart = [World(world.script, folder) for world in together[:2]]
    assert live(together)
    assert all(world.live() for world in apart)
    mean = sum(world.checkpoint().state.params for world in apart) / 2
    for world in together:
        torch.testing.assert_close(world.checkpoint().state.params, mean, rtol=1e-12, atol=1e-12)


def test_rounds_of_one_event_are_one_process_with_a_batch(folder: Path) -> None:
    """R ranks, one event a rank and round: what one process does with iterations of R events, to 1e-6."""
    script = make_script(5, partitions=2, tasks=6, events=40, poison=0.0)
    by_rank = [[r for r in script if r.partition == rank] for rank in (0, 1)]
    pairs = min(map(len, by_rank))
    ranks = worlds_of([*by_rank[0][:pairs], *by_rank[1][:pairs]], 2, folder, config_of(round_events=1))
    single = World([r for pair in zip(*by_rank, strict=False) for r in pair], folder, batches_of(2))
    assert live(ranks)
    assert single.live()
    expected = single.checkpoint().state
    for rank in ranks:
        state = rank.checkpoint().state
        torch.testing.assert_close(state.params, expected.params, rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(state.outer["momentum"], expected.outer["momentum"], rtol=1e-6, atol=1e-9)
        for task, row in rank.rows().items():
            memory = torch.frombuffer(bytearray(row.memory), dtype=torch.float64)
            known = torch.frombuffer(bytearray(single.rows()[task].memory), dtype=torch.float64)
            torch.testing.assert_close(memory, known, rtol=1e-6, atol=1e-9)


def test_one_rank_is_the_single_process(folder: Path) -> None:
    """A group of one ends, bit for bit, where the process without a group ends."""
    script = make_script(2, partitions=3, tasks=TASKS, events=50)
    alone, one = World(script, folder), World(script, folder, config_of(round_events=7))
    assert alone.live(batch=lambda: 5)
    traced(folder)
    assert one.live(batch=lambda: 5, group=Meeting(1).member(0))
    assert same(alone, one)
    assert one.checkpoint().standing is not None
    assert alone.checkpoint().standing is None


def test_a_state_of_another_group_is_refused_with_the_command_that_moves_it(folder: Path) -> None:
    """Another number of ranks, a single process's state, another rank's: named, with the remedy."""
    worlds = copies(undisturbed(folder))
    assert live(worlds)
    alone = World(worlds[0].script, folder)
    assert alone.live()
    for world, member, words in (
        (worlds[0], Meeting(4).member(0), "made by a group of 2, this is a group of 4"),
        (alone, Meeting(2).member(0), "made by a single process, this is a group of 2"),
        (worlds[1], Meeting(2).member(0), "that of rank 1, this is rank 0"),
    ):
        with pytest.raises(StateError, match=words):
            world.live(group=member)


def test_a_rank_whose_state_was_lost_is_refused(folder: Path) -> None:
    """The others have united in rounds that it has not closed: it would learn its events twice."""
    worlds = copies(undisturbed(folder))
    assert live(worlds)
    worlds[1] = World(worlds[1].script, folder, worlds[1].config)
    with pytest.raises(StateError, match="rank 1 has closed round 0, others have united in round"):
        live(worlds)


def test_ranks_of_other_settings_are_refused(folder: Path) -> None:
    """What must be the same for all is compared before anything is learned."""
    worlds = copies(undisturbed(folder))
    worlds[1].config = config_of(round_events=7)
    with pytest.raises(ConfigError, match="rank 1 was started with other settings than rank 0"):
        live(worlds)
