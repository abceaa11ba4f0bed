"""A task whose memory outgrows the limit is held back, exactly, until a record releases it."""

import random
from functools import cache
from pathlib import Path
from typing import Final

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streammeta.codec import CONTROL, MSGPACK, RELEASE, encode_msgpack
from streammeta.config import Config
from streammeta.errors import ConfigError, Reason
from streammeta.events import Record, episode_of
from streammeta.runtime.blueprint import Blueprint, build_blueprint
from tests.scripted import make_script
from tests.world import CONFIG, World, batches_of, same

LIMIT, RUNAWAY, RELEASED = 30.0, b"task-2", 50
EVENTS: Final = 80


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the worlds of this module."""
    return tmp_path_factory.mktemp("quarantine")


def limited(batch: int = 1) -> Config:
    """The configuration of the worlds, with the limit."""
    config = batches_of(batch)
    return config.model_copy(update={"events": config.events.model_copy(update={"memory_norm_limit": LIMIT})})


@pytest.fixture(autouse=True)
def blueprints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Worlds compute with the limit."""
    blueprint = _blueprint()
    monkeypatch.setattr("tests.world.blueprint", lambda: blueprint)


@cache
def _blueprint() -> Blueprint:
    return build_blueprint(limited())


@cache
def scripted(seed: int) -> list[Record]:
    """In the middle one task brings targets that are far off, once; later a record releases it."""
    script = make_script(seed, partitions=3, tasks=6, events=EVENTS, wild=0.05)
    far = next(n for n, record in enumerate(script) if n >= EVENTS // 4 and record.key == RUNAWAY)
    x = torch.ones(3, 2).numpy()
    value = encode_msgpack(episode_of(x, 1e5 * x[:, :1], x, x[:, :1]))
    script[far] = script[far]._replace(value=value, headers=(("content-type", MSGPACK.encode()),))
    last = next(n for n, record in enumerate(script) if n >= RELEASED and record.key == RUNAWAY)
    script[last] = script[last]._replace(value=b"{}", headers=((CONTROL, RELEASE),))
    return script


def calm(seed: int, batch: int, folder: Path) -> World:
    """One undisturbed life, recorded."""
    world = World(scripted(seed), folder, limited(batch), part_bytes=2000)
    assert world.live()
    return world


@pytest.mark.parametrize("batch", [1, 4])
def test_held_back_from_its_own_event_to_the_release(batch: int, folder: Path) -> None:
    """Refused are that event and all of its task up to the release; the others learn as if these were not."""
    world = calm(0, batch, folder)
    refused = [record for record, refusal in world.dead if refusal.reason == Reason.QUARANTINED]
    script = world.script
    first, last = script.index(refused[0]), next(n for n, r in enumerate(script) if r.value == b"{}")
    between = [r for r in script[first:last] if r.key == RUNAWAY and not (r.value or b"").startswith(b"\xc1")]
    assert len(between) > 2
    assert {r.offset for r in refused} <= {r.offset for r in between}
    assert world.checkpoint().quarantine == {}
    without = World([r for r in script if r not in refused], folder, limited(batch))
    assert without.live()
    assert world.rows().keys() == without.rows().keys()
    if batch == 1:  # records refused do not gather into the same iterations
        assert torch.equal(world.checkpoint().state.params, without.checkpoint().state.params)
        assert {task: row.memory for task, row in world.rows().items()} == {
            task: row.memory for task, row in without.rows().items()
        }


def test_who_is_held_back_stands_in_the_state(folder: Path) -> None:
    """With the event and the norm, when the life ends before the release."""
    world = World(scripted(0)[: RELEASED - 5], folder, limited())
    assert world.live()
    ((task, held),) = world.checkpoint().quarantine.items()
    assert task.encode() == RUNAWAY
    assert held.norm > LIMIT
    assert 0 < held.event <= world.checkpoint().progress.events + 1
    norms = [row.stats.memory_norm for row in world.rows().values()]
    assert 0 < max(norms) <= LIMIT


@given(data=st.data())
@settings(max_examples=8, deadline=None)
def test_kills_and_replays_decide_the_same(data: st.DataObject, folder: Path) -> None:
    """Cut anywhere, polled in any pieces, with iterations of any size: the bits of the uncut run."""
    seed, batch = data.draw(st.integers(0, 1), label="script"), data.draw(st.sampled_from([1, 4]))
    fuses = data.draw(st.lists(st.integers(1, 200), max_size=4), label="kills")
    draws = random.Random(data.draw(st.integers(0, 2**32), label="batches"))
    reference = calm(seed, batch, folder)
    world = World(reference.script, folder, limited(batch), part_bytes=2000)
    assert world.live_killed(fuses, draws)
    again = world.replayed()
    for other in (world, again):
        assert same(other, reference)
        assert other.checkpoint().quarantine == reference.checkpoint().quarantine
        assert other.checkpoint().refused[Reason.QUARANTINED] > 2


def test_an_unknown_request_is_a_dead_letter(folder: Path) -> None:
    """So is a release without a task; neither stops the stream."""
    script = make_script(1, partitions=1, tasks=2, events=12, poison=0.0)
    script[3] = script[3]._replace(headers=((CONTROL, b"explode"),))
    script[4] = script[4]._replace(key=None, headers=((CONTROL, RELEASE),))
    world = World(script, folder, limited())
    assert world.live()
    assert [refusal.reason for _, refusal in world.dead] == [Reason.UNDECODABLE, Reason.MISSING_TASK_ID]
    assert world.checkpoint().progress.events == 10


def test_a_limit_for_a_learner_without_memory_is_refused() -> None:
    """There is nothing that could grow."""
    table = limited().model_dump(by_alias=True) | {"algorithm": {"name": "maml"}}
    with pytest.raises(
        ConfigError, match=r"events\.memory_norm_limit = 30: this algorithm keeps no parameters"
    ):
        build_blueprint(Config.model_validate(table))
    assert CONFIG.events.memory_norm_limit == 0.0
