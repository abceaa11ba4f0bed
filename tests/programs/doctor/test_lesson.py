"""Learning from the newest records on a copy: what is told of it, and that the copy is one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from streammeta.codec import encode_msgpack
from streammeta.config import Config
from streammeta.events import Record, episode_of
from streammeta.outcomes import Learned
from streammeta.programs.doctor.check import Check
from streammeta.programs.doctor.examination import of_records
from streammeta.programs.doctor.lesson import of_learning
from streammeta.programs.doctor.local import copied
from streammeta.runtime.assembly import assemble
from streammeta.runtime.blueprint import Blueprint, build_blueprint, restore
from streammeta.state.memory_store import MemoryStore
from streammeta.state.order_log import OrderLog
from streammeta.stream.generated import NoDeadLetters
from tests.programs.doctor.worlds import MSGPACK_HEADERS, bytes_of, config_of, make_state, record
from tests.scripted import ScriptedSource


def stream(count: int, x_size: int = 2, scale: float = 1.0) -> list[Record]:
    """Episodes of two tasks that a small network can learn."""
    draws = np.random.default_rng(5)
    made = []
    for offset in range(count):
        x = scale * draws.normal(size=(2, 4, x_size))
        y = x.sum(axis=2, keepdims=True)
        value = encode_msgpack(episode_of(x[0], y[0], x[1], y[1]))
        made.append(record(value, offset, b"task-%d" % (offset % 2), headers=MSGPACK_HEADERS))
    return made


@pytest.fixture(scope="module")
def blueprint(tmp_path_factory: pytest.TempPathFactory) -> Blueprint:
    """Traced once."""
    return build_blueprint(config_of(tmp_path_factory.mktemp("blueprint")))


def learned(config: Config, blueprint: Blueprint, given: Sequence[Record]) -> Check:
    """The check, from a new state."""
    return of_learning(config, blueprint, MemoryStore(), given)


def test_losses_are_those_of_the_daemon(blueprint: Blueprint, tmp_path: Path) -> None:
    """First and last are means over ten events of what the loop tells for the same records."""
    config, given, told = config_of(tmp_path), stream(30), list[float]()
    store = MemoryStore()
    assemble(
        config,
        blueprint,
        restore(blueprint, store),
        source=ScriptedSource(given, lambda: 7),
        dead_letters=NoDeadLetters(),
        store=store,
        order_log=OrderLog(tmp_path / "order.log"),
        observers=(lambda one: told.extend(one.losses[:, 0].tolist()) if isinstance(one, Learned) else None,),
    ).run(until_end=True)
    check = learned(config, blueprint, given)
    assert check.verdict == "ok"
    assert check.facts["losses"]["meta"] == pytest.approx(
        {"first": sum(told[:10]) / 10, "last": sum(told[-10:]) / 10}, rel=1e-12
    )
    assert check.facts["learned"] == 30


def test_it_begins_at_a_copy_of_the_state(blueprint: Blueprint, tmp_path: Path) -> None:
    """Other parameters, other losses; what the state holds already is learned again, and its bytes stay."""
    config, given = config_of(tmp_path), stream(10)
    begun = restore(blueprint, MemoryStore())
    moved = begun.state._replace(params=begun.state.params + 3.0)
    state = make_state(config, blueprint, state=moved, positions={0: 100})
    before = bytes_of(state)
    (_, check) = of_records(config, blueprint, begun, given)
    fresh = learned(config, blueprint, given)
    assert "on a copy of the state" in check.words
    assert check.facts["learned"] == 10
    assert check.facts["losses"]["meta"]["first"] > 2 * fresh.facts["losses"]["meta"]["first"]
    assert bytes_of(state) == before
    assert copied(state, ["task-0"]).count() == 0


def test_a_model_that_takes_nothing(blueprint: Blueprint, tmp_path: Path) -> None:
    """A fault, with the reason and a record that shows it."""
    check = learned(config_of(tmp_path), blueprint, stream(20, x_size=3))
    assert (check.verdict, check.exit_code) == ("fault", 78)
    assert "0 events of 20 records learned from" in check.words
    assert "shape_mismatch 9, as partition 0 offset 0: " in check.words
    assert "dead letters" not in check.remedy  # the daemon would stop, and set none aside


def test_some_records_that_the_model_refuses(blueprint: Blueprint, tmp_path: Path) -> None:
    """A warning; most of them: a fault, for it would learn from next to nothing."""
    good, bad = stream(12), stream(12, x_size=3)
    few, most = (good[:at] + bad[at:] for at in (8, 4))
    assert learned(config_of(tmp_path), blueprint, few).verdict == "warning"
    assert learned(config_of(tmp_path), blueprint, most).verdict == "fault"


def test_updates_that_overflow(blueprint: Blueprint, tmp_path: Path) -> None:
    """The settings that help are named, the algorithm's own alone."""
    check = learned(config_of(tmp_path), blueprint, stream(6) + wild(6))
    assert "non_finite_update" in check.words
    assert "algorithm.inner_clip_norm and outer.clip_norm" in check.remedy


def wild(count: int) -> list[Record]:
    """Records after six others, whose update overflows."""
    return [one._replace(offset=one.offset + 6) for one in stream(count, scale=1e30)]


def test_examples_that_make_no_episode_yet(tmp_path: Path) -> None:
    """Nothing was learned, and more records would show more: a warning."""
    config = config_of(tmp_path, "events.kind=examples", "events.support=3", "events.query=3")
    given = [record({"x": [[0.1, n]], "y": [[n]]}, n) for n in range(5)]
    check = learned(config, build_blueprint(config), given)
    assert check.verdict == "warning"
    assert "examples of 5 records wait for an episode" in check.words
    assert "no task has 6 examples yet" in check.remedy
