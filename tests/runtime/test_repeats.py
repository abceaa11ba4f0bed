"""Events sent again under the same `ce_id` are learned once, whatever is cut, killed or delivered again."""

import random
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streammeta.config import Config
from streammeta.events import Record
from streammeta.outcomes import Duplicate, Outcome
from streammeta.state import event_ids
from tests.example_streams import make_examples
from tests.scripted import make_script
from tests.world import CONFIG, World, rows_of, same

EVENTS, TASKS, WINDOW = 90, 6, 25
BATCHES = st.sampled_from([1, 3])


@pytest.fixture(scope="module", autouse=True)
def short_blocks() -> Iterator[None]:
    """Blocks of four ids, so that many come and go in a short life."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(event_ids, "BLOCK_BYTES", 4 * 24)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the order logs of this module."""
    return tmp_path_factory.mktemp("repeats")


def config_of(batch: int = 1, window: int = WINDOW, **events: Any) -> Config:
    """The configuration of the world, with a window of ids."""
    table = {"batch": batch, "dedupe_window_events": window, **events}
    return Config.model_validate({**CONFIG.model_dump(exclude_unset=True), "events": table})


def named(script: list[Record], seed: int, reused: float = 0.4) -> list[Record]:
    """Most records with an id; many with one that another record had, near or far before."""
    draws, records, ids = random.Random(seed), list[Record](), list[bytes]()
    for number, record in enumerate(script):
        event = b"event-%d" % number
        if ids and draws.random() < reused:
            event = draws.choice(ids[-12:] if draws.random() < 0.7 else ids)
        ids.append(event)
        headers = (*record.headers, ("CE_id", event)) if draws.random() < 0.9 else record.headers
        records.append(record._replace(headers=headers))
    return records


def script_of(seed: int) -> list[Record]:
    """Good records, poison, and such as the step refuses."""
    return named(
        make_script(seed, partitions=3, tasks=TASKS, events=EVENTS, poison=0.15, odd=0.1, wild=0.1), seed
    )


@cache
def uncut(seed: int, batch: int, folder: Path) -> World:
    """The world after one undisturbed life."""
    world = World(script_of(seed), folder, config_of(batch), part_bytes=2000)
    assert world.live()
    return world


def answer(world: World) -> tuple[list[Record], list[Record]]:
    """The records that are learned, and those that are passed over, by the rule in a plain loop."""
    refused = {(record.partition, record.offset) for record, _ in world.dead}
    learned, repeated, taken = list[Record](), list[Record](), dict[bytes, int]()
    for number, record in enumerate(world.script):
        event = dict(record.headers).get("CE_id")
        if event is not None and event in taken and number - taken[event] <= WINDOW:
            repeated.append(record)
        elif (record.partition, record.offset) not in refused:
            learned.append(record)
            if event is not None:
                taken[event] = number
    return learned, repeated


@pytest.mark.parametrize("seed", range(4))
def test_an_event_sent_again_changes_nothing(seed: int, folder: Path) -> None:
    """The bits are those of the stream without the repeats; only what was learned makes a repeat."""
    world, told = World(script_of(seed), folder, config_of()), list[Outcome]()
    assert world.live(observers=(told.append,))
    learned, repeated = answer(world)
    refused = [record for record, _ in world.dead]
    passed = [(one.partition, one.offset) for one in told if isinstance(one, Duplicate)]
    assert all(one.sent_again for one in told if isinstance(one, Duplicate))
    assert passed == [(record.partition, record.offset) for record in repeated]
    assert [one.task for one in rows_of(told)] == [(record.key or b"").decode() for record in learned]
    ids = Counter(dict(record.headers).get("CE_id") for record in learned)
    assert (
        min(len(repeated), len(refused), ids.most_common(1)[0][1] - 1) > 0
    )  # all kinds, and one that was forgotten
    plain = World([record for record in world.script if record not in repeated], folder)
    assert plain.live()
    assert torch.equal(world.checkpoint().state.params, plain.checkpoint().state.params)


@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_any_kills_give_the_same_bits_and_the_same_window(data: st.DataObject, folder: Path) -> None:
    """Cut between any two hops, in any batches: state, window and counts are those of the uncut run."""
    reference = uncut(data.draw(st.integers(0, 2), label="script"), data.draw(BATCHES, label="batch"), folder)
    fuses = data.draw(st.lists(st.integers(1, 200), max_size=6), label="kills")
    draws = random.Random(data.draw(st.integers(0, 2**32), label="batches"))
    world = World(reference.script, folder, reference.config)
    assert world.live_killed(fuses, draws)
    assert same(world, reference)
    assert dict(world.store.ids()) == dict(reference.store.ids())
    assert world.checkpoint().ids == reference.checkpoint().ids


@pytest.mark.parametrize("batch", [1, 3])
def test_a_recording_is_replayed_to_the_same_bits_and_the_same_window(batch: int, folder: Path) -> None:
    """A recording holds the repeats, and a replay passes over the same ones."""
    recorded = uncut(0, batch, folder)
    replayed = recorded.replayed()
    assert same(replayed, recorded)
    assert dict(replayed.store.ids()) == dict(recorded.store.ids())


@pytest.mark.parametrize("batch", [1, 3])
def test_the_window_is_bounded(batch: int, folder: Path) -> None:
    """No more ids than the window and a block are stored, and the blocks are those that the state names."""
    world = uncut(1, batch, folder)
    first, end = world.checkpoint().ids
    assert first > 0
    assert sorted(world.store.ids()) == [*range(first, end)]
    assert sum(map(len, world.store.ids().values())) <= (WINDOW + 2 * 4) * 24


@given(fuses=st.lists(st.integers(1, 200), max_size=5), seed=st.integers(0, 3))
@settings(max_examples=8, deadline=None)
def test_examples_sent_again_are_taken_once(fuses: list[int], seed: int, folder: Path) -> None:
    """Also where examples wait in buffers, killed or not: as of the stream without the repeats."""
    script = named(make_examples(seed, partitions=3, tasks=TASKS, records=EVENTS), seed)
    config = config_of(
        kind="examples", support=2, query=1, stride=1, expire_after_events=0, label_wait_events=10_000
    )
    world, plain = World(script, folder, config), World([], folder, config_of(window=0, **_table(config)))
    assert world.live_killed(fuses, random.Random(seed))
    _, repeated = answer(world)
    assert repeated
    plain.script = [record for record in script if record not in repeated]
    assert plain.live()
    assert torch.equal(world.checkpoint().state.params, plain.checkpoint().state.params)
    assert {t: row.stats.events for t, row in world.rows().items()} == {
        t: row.stats.events for t, row in plain.rows().items()
    }


def _table(config: Config) -> dict[str, Any]:
    return config.events.model_dump(exclude_unset=True, exclude={"batch", "dedupe_window_events"})


def test_switched_off_for_a_while(folder: Path) -> None:
    """Then repeats are learned, and what was known before stays known as long as the window says."""
    script = [record for record in script_of(3) if (record.value or b"")[:1] != b"\xc1"]
    first = next(record for record in script if dict(record.headers).get("CE_id"))
    again = first._replace(offset=script[-1].offset + 100, partition=script[-1].partition)
    world, told = World(script[:10], folder, config_of()), list[Outcome]()
    assert world.live()
    kept = dict(world.store.ids())
    world.script, world.config = script[:14], config_of(window=0)
    assert world.live(observers=(told.append,))
    assert not any(isinstance(outcome, Duplicate) for outcome in told)
    assert dict(world.store.ids()) == kept
    world.script, world.config = [*script[:14], again], config_of()
    assert world.live(observers=(told.append,))
    assert [outcome.offset for outcome in told if isinstance(outcome, Duplicate)] == [again.offset]
