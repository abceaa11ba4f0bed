"""Compiled steps in the loop: kills around the switch, recordings, and steps that cannot be had."""

import random
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streammeta.errors import StateError
from streammeta.events import Run, Switch
from streammeta.recording.reader import Recording
from streammeta.state.order_log import OrderLog
from tests.recording.samples import read
from tests.scripted import Fuse, make_script
from tests.world import World, batches_of, same

PART_BYTES = 2000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the worlds of this module."""
    return tmp_path_factory.mktemp("compiled")


@cache
def uncut(batch: int, folder: Path, compiled: Path) -> World:
    """One undisturbed life, recorded; the compiled step takes over behind the first poll."""
    script = make_script(1, partitions=3, tasks=6, events=40, odd=0.1, wild=0.1)
    pauses = frozenset({12, 27})
    world = World(script, folder, batches_of(batch), pauses, part_bytes=PART_BYTES, compiled_from=compiled)
    assert world.live()
    assert world.checkpoint().executors
    return world


def served(world: World) -> list[tuple[int, tuple[str, ...]]]:
    """From which rows on which compiled steps learned, as the recording tells; each change once."""
    told = [(s.row, s.compiled) for chunk in Recording(world.recording).chunks() for s in chunk.stretches]
    return [now for before, now in zip([(-1, ()), *told], told, strict=False) if before[1] != now[1]]


@pytest.mark.parametrize("batch", [1, 4])
def test_a_replay_uses_the_same_executors_at_the_same_rows(
    batch: int, folder: Path, compiled_world: Path
) -> None:
    """Traced at first, then compiled where that is at hand: the same bits, not those of all traced."""
    world = uncut(batch, folder, compiled_world)
    ((row, names),) = served(world)
    assert 0 < row < len(world.script)
    assert names == world.checkpoint().executors
    again = world.replayed()
    assert same(again, world)
    assert again.checkpoint().executors == world.checkpoint().executors
    traced = World(world.script, folder, world.config, world.pauses)
    assert traced.live()
    assert not same(traced, world)


@given(data=st.data())
@settings(max_examples=12)
def test_killed_anywhere_state_and_recording_agree(
    data: st.DataObject, folder: Path, compiled_world: Path
) -> None:
    """Before, at and after the switch, as often as you like; and two replays of it end in the same bits.

    Where the switch comes depends on the polls. The recording says where it came, and a replay keeps to it.
    """
    batch = data.draw(st.sampled_from([1, 4]), label="batch")
    fuses = data.draw(st.lists(st.integers(1, 120), max_size=10), label="kills")
    draws = random.Random(data.draw(st.integers(0, 2**32), label="polls"))
    whole = uncut(batch, folder, compiled_world)
    world = World(
        whole.script, folder, whole.config, whole.pauses, part_bytes=PART_BYTES, compiled_from=compiled_world
    )
    assert world.live_killed(fuses, draws)
    assert read(world.recording) == world.script
    assert same(world.replayed(), world)
    killed_replay = World([], folder, world.config)
    for length in data.draw(st.lists(st.integers(1, 120), max_size=4), label="kills of the replay"):
        world.replayed(fuse=Fuse(length), into=killed_replay)
    assert same(world.replayed(into=killed_replay), world)


@pytest.mark.parametrize("moments", [20, 22, 24])
def test_kills_around_the_switch_change_no_bit(compiled_world: Path, tmp_path: Path, moments: int) -> None:
    """A life cut after the switch and before the next checkpoint: the same bits as the uncut one."""
    script = make_script(1, partitions=2, tasks=5, events=30)
    whole, cut = (World(script, tmp_path, compiled_from=compiled_world) for _ in range(2))
    assert whole.live()
    assert not cut.live(fuse=Fuse(moments))
    log = OrderLog(cut.folder / "order.log")
    assert any(isinstance(entry, Switch) for entry in log.pending(cut.checkpoint().positions))
    log.close()
    assert cut.live()
    assert whole.checkpoint().executors
    assert cut.checkpoint().executors == whole.checkpoint().executors
    assert same(whole, cut)


def test_a_step_that_cannot_be_had_is_refused_where_bits_hang_on_it(
    compiled_world: Path, tmp_path: Path
) -> None:
    """Events are to be applied again by a step that is gone: refused in words; traced where it is told to."""
    script = make_script(1, partitions=2, tasks=5, events=30)
    world = World(script, tmp_path, compiled_from=compiled_world)
    log = OrderLog(world.folder / "order.log")
    log.append([Switch("0" * 32), Run(script[0].partition, 0, script[0].offset + 1)])
    log.close()
    with pytest.raises(StateError, match=r'compiled step 0{32}.*engine\.compile = "off"') as refused:
        world.live()
    assert refused.value.exit_code == 65
    world.compiled_from = None
    assert world.live()
    assert world.checkpoint().executors == ()
