"""The flight recorder: its recording holds what the state contains; a replay ends in the same bits."""

import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streammeta.errors import RecordingError
from streammeta.events import Record
from streammeta.outcomes import Learned, Outcome, Refused
from streammeta.recording.reader import Recording
from tests.recording.kills import killed_at_a_system_call
from tests.recording.samples import read
from tests.scripted import Fuse, make_script
from tests.world import World, batches_of, same, stop_after

EVENTS = 40
PART_BYTES = 2000
"""Small, so that a short script fills several parts."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the worlds of this module."""
    return tmp_path_factory.mktemp("flight")


@pytest.fixture(scope="module", autouse=True)
def no_power_cuts() -> Iterator[None]:
    """Kills alone are tried here: the operating system keeps what it was given."""
    with mock.patch("os.fsync", return_value=None):
        yield


def recorded(world: World) -> list[Record]:
    """All records of the world's recording."""
    return read(world.recording)


@cache
def calm(seed: int, batch: int, folder: Path) -> World:
    """One undisturbed life, recorded."""
    script = make_script(seed, partitions=3, tasks=6, events=EVENTS, odd=0.1, wild=0.1)
    pauses = frozenset(random.Random(seed).sample(range(EVENTS), 4))
    world = World(script, folder, batches_of(batch), pauses=pauses, part_bytes=PART_BYTES)
    assert world.live()
    return world


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("seed", range(3))
def test_a_replay_ends_in_the_same_bits(seed: int, batch: int, folder: Path) -> None:
    """Several partitions, iterations that the clock closed, refused records: all as they were."""
    world = calm(seed, batch, folder)
    assert recorded(world) == world.script
    assert len(Recording(world.recording).manifest.parts) > 2
    again = world.replayed()
    assert same(again, world)
    assert [record for record, _ in again.dead] == [record for record, _ in world.dead]


@given(data=st.data())
@settings(max_examples=16, deadline=None)
def test_killed_anywhere_the_recording_holds_what_the_state_contains(
    data: st.DataObject, folder: Path
) -> None:
    """Between any two hops and at any system call, as often as you like: three states with the same bits."""
    seed = data.draw(st.integers(0, 2), label="script")
    batch = data.draw(st.sampled_from([1, 4]), label="batch")
    fuses = data.draw(st.lists(st.integers(1, 250), min_size=1, max_size=4), label="kills")
    draws = random.Random(data.draw(st.integers(0, 2**32), label="batches"))
    reference = calm(seed, batch, folder)
    world = World(reference.script, folder, reference.config, pauses=reference.pauses, part_bytes=PART_BYTES)
    for length in fuses:
        fuse = Fuse(length)
        with killed_at_a_system_call(fuse):
            world.live(fuse=fuse, batch=lambda: draws.randint(1, 9), redeliver=lambda: draws.randint(0, 4))
        if world.store.load() is not None:
            mark = world.checkpoint().recording
            assert mark is not None
            assert recorded(world)[: mark.rows] == world.script[: mark.rows]
    assert world.live(batch=lambda: draws.randint(1, 9))
    assert same(world, reference)
    assert recorded(world) == world.script
    assert same(world.replayed(), world)


@given(fuses=st.lists(st.integers(1, 200), min_size=1, max_size=5), batch=st.sampled_from([1, 4]))
@settings(max_examples=16, deadline=None)
def test_a_killed_replay_goes_on(fuses: list[int], batch: int, folder: Path) -> None:
    """Killed between any two hops, as often as you like, a replay ends in the same bits."""
    world = calm(1, batch, folder)
    again = World([], folder, world.config)
    for length in [*fuses, -1]:
        world.replayed(fuse=Fuse(length), into=again)
    assert same(again, world)


@given(stops=st.lists(st.integers(1, 20), min_size=1, max_size=5), batch=st.sampled_from([1, 4]))
@settings(max_examples=12, deadline=None)
def test_clean_stops(stops: list[int], batch: int, folder: Path) -> None:
    """SIGTERM after any event: what waits in an open iteration is not recorded until it is learned."""
    reference = calm(2, batch, folder)
    world = World(reference.script, folder, reference.config, pauses=reference.pauses, part_bytes=PART_BYTES)
    for number in [*stops, 10**6]:
        controls, count = stop_after(number, Learned | Refused)
        assert world.live(observers=(count,), controls=controls, batch=lambda: 8)
        state = world.checkpoint()
        assert state.recording is not None
        assert len(recorded(world)) == state.recording.rows
        assert same(world.replayed(), world)
    assert same(world, reference)


def test_a_topic_made_anew_is_replayed(folder: Path) -> None:
    """Offsets that begin again, with an iteration open: what was dropped then is not there."""
    before = make_script(3, partitions=2, tasks=6, events=31)
    after = make_script(4, partitions=2, tasks=6, events=40)
    world = World(before, folder, batches_of(4), part_bytes=PART_BYTES, topic_id="a")
    seen = [0]

    def recreate(outcome: Outcome) -> None:
        seen[0] += len(outcome) if isinstance(outcome, Learned) else isinstance(outcome, Refused)
        if seen[0] >= 20 and world.topic_id == "a" and world.source is not None:
            world.topic_id = "b"
            world.source.recreate(after, "b")

    assert world.live(observers=(recreate,))
    rows = recorded(world)
    assert rows[-len(after) :] == after
    assert 20 <= len(rows) - len(after) < len(before)
    assert Recording(world.recording).rewinds >= 1
    assert same(world.replayed(), world)


def test_a_recording_of_another_state_is_refused(folder: Path) -> None:
    """A state that did not make it, and a state older than its parts."""
    world = calm(0, 1, folder)
    stranger = World(world.script, folder, part_bytes=PART_BYTES)
    stranger.recording = world.recording
    with pytest.raises(RecordingError, match=r"was not made with this state; record into a new directory"):
        stranger.live()
    rows = world.rows()
    old = World(world.script[:10], folder, part_bytes=PART_BYTES)
    assert old.live()
    kept = old.store.load()
    old.script = world.script
    assert old.live()
    assert kept is not None
    old.store.commit(kept, rows)
    with pytest.raises(RecordingError, match=r"has 40 rows \(40 in parts\).*up to row 10"):
        old.live()


def test_recording_begins_with_a_state_that_has_learned(folder: Path) -> None:
    """Its recording begins there, and a replay from that state ends in the same bits."""
    world = World(calm(0, 1, folder).script[:25], folder)
    assert world.live()
    start = World([], folder)
    meta = world.store.load()
    assert meta is not None
    start.store.commit(meta, world.rows())
    world.script, world.part_bytes = calm(0, 1, folder).script, PART_BYTES
    assert world.live()
    assert recorded(world) == world.script[25:]
    assert same(world.replayed(into=start), world)
    assert not same(world.replayed(), world)
