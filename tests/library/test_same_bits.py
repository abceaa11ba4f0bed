"""A Learner and the daemon: the same events in the same order come to the same bits, and change hands."""

from collections.abc import Sequence
from contextlib import closing, nullcontext, suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from streammeta.api import Learner
from streammeta.codec import CONTROL, MSGPACK, RESET, decode_examples, encode_msgpack
from streammeta.config import Config
from streammeta.errors import BadEvent, NoAnswer
from streammeta.events import Array, Batch, Examples, Record
from streammeta.learner.chunk import Placed
from streammeta.learner.engine import Engine
from streammeta.library.states import Homes
from streammeta.runtime.assembly import assemble
from streammeta.runtime.blueprint import build_blueprint, restore
from streammeta.state.checkpoint import unpack
from streammeta.state.memory_store import MemoryStore
from streammeta.state.order_log import OrderLog
from tests.scripted import CollectedDeadLetters, ScriptedSource, make_script

EVENTS = 2000


CONFIG = Config.model_validate(
    {
        "model": {"args": {"sizes": [2, 1]}},
        "algorithm": {"name": "moml", "order": "first", "inner_lr": 0.05, "beta": 0.3},
        "outer": {"lr": 0.05, "momentum": 0.5},
        "state": {"cache_tasks": 4, "checkpoint_events": 40, "checkpoint_seconds": 1000.0},
        "engine": {"compile": "off"},
    }
)


def script_of(events: int, seed: int = 5) -> list[Record]:
    """Records of six tasks in two partitions; some of another shape, some NaN or overflowing."""
    return make_script(seed, partitions=2, tasks=6, events=events, poison=0, odd=0.1, wild=0.1)


def given(record: Record) -> tuple[str, Batch[Array], Batch[Array], int]:
    """What a program has in place of the record, NaN or not."""
    body = msgspec.msgpack.decode(record.value or b"")

    def array(tensor: dict[str, Any]) -> Array:
        return np.frombuffer(tensor["data"], tensor["dtype"]).reshape(tensor["shape"])

    support, query = (Batch(array(body[name]["x"]), array(body[name]["y"])) for name in ("support", "query"))
    return (record.key or b"").decode(), support, query, record.timestamp_ms


def daemon(
    script: Sequence[Record], folder: Path, store: MemoryStore | None = None, config: Config = CONFIG
) -> MemoryStore:
    """What the daemon made of the records, going on from `store`."""
    store, blueprint = store or MemoryStore(), build_blueprint(config)
    with closing(OrderLog(folder / f"{len(script)}.log")) as log:
        assemble(
            config,
            blueprint,
            restore(blueprint, store),
            source=ScriptedSource(script, lambda: 50),
            dead_letters=CollectedDeadLetters([]),
            store=store,
            order_log=log,
        ).run(until_end=True)
    return store


def held(learner: Learner, folder: Path) -> MemoryStore:
    """What a directory holds after the learner has saved itself there."""
    learner.save(folder)
    return Homes().read(folder)


def bits(store: MemoryStore) -> tuple[object, ...]:
    """All that was learned: parameters, momentum, memories, statistics, counts; positions apart."""
    meta = store.load()
    assert meta is not None
    checkpoint = unpack(meta)
    state = checkpoint.state
    tensors = [state.params, *state.outer.values(), state.inner_lr, state.meta_lr]
    rows = {task: store.get(task) for task, _ in store.stats()}
    return (
        [tensor.numpy().tobytes() for tensor in tensors],
        repr((checkpoint.progress, checkpoint.refused, checkpoint.tally)),
        repr(rows),
        store.constants(),
    )


def test_two_thousand_events(tmp_path: Path) -> None:
    """All by the daemon; all by a Learner; half by a Learner, then by the daemon: one state."""
    script = script_of(EVENTS)
    wanted = bits(daemon(script, tmp_path))
    learner = Learner.from_config(CONFIG)
    first = learner.learn_all(map(given, script[: EVENTS // 2]))
    halfway = held(learner, tmp_path / "half")
    second = learner.learn_all(map(given, script[EVENTS // 2 :]))
    assert learner.events == first.events + second.events
    assert first.refused
    assert learner.events + len(first.refused) + len(second.refused) == EVENTS
    assert bits(held(learner, tmp_path / "whole")) == wanted
    assert bits(daemon(script[EVENTS // 2 :], tmp_path, halfway)) == wanted


def test_what_is_asked_between_events(tmp_path: Path) -> None:
    """One by one, whatever is asked meanwhile: answers know every event, and the bits are the daemon's."""
    script, draws = script_of(300), np.random.default_rng(3)
    looker, seen = Learner.from_config(CONFIG), 0
    visits: dict[str, int] = {}
    for record in script:
        task, support, query, time_ms = given(record)
        before = None
        with suppress(BadEvent, NoAnswer):
            before = looker.predict(task, query.x)
        with suppress(BadEvent):
            lesson = looker.learn(task, support, query, time_ms=time_ms)
            seen, visits[task] = seen + 1, visits.get(task, 0) + 1
            assert (lesson.task, lesson.events, lesson.task_events) == (task, seen, visits[task])
            if lesson.task_events > 1 and before is not None:
                known = np.mean((before - query.y) ** 2)
                assert known == pytest.approx(lesson.loss_memory, rel=1e-4)
        if draws.random() < 0.1:
            assert (looker.events, looker.history().index[-1]) == (seen, seen)
            assert f"events={seen}," in repr(looker)
    assert bits(held(looker, tmp_path / "s")) == bits(daemon(script, tmp_path))
    rows = looker.history()
    assert rows["loss_memory"].count() == seen - len(visits)
    assert rows["time"].is_monotonic_increasing


def test_what_breaks_off_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control-C within an event, or within many: those before it stay, and what comes next is learned."""
    script = make_script(6, partitions=1, tasks=3, events=30, poison=0, odd=0, wild=0)
    events, learn, calls = [given(record) for record in script], Engine.learn, 0

    def interrupted(engine: Engine, iteration: Sequence[Placed]) -> None:
        nonlocal calls
        calls += 1
        if calls in (4, 10):
            raise KeyboardInterrupt
        learn(engine, iteration)

    broken, sound = (Learner.from_config(CONFIG) for _ in range(2))
    monkeypatch.setattr(Engine, "learn", interrupted)
    for n, event in enumerate(events[:6]):
        with pytest.raises(KeyboardInterrupt) if n == 3 else nullcontext():
            assert broken.learn(*event[:3], time_ms=event[3]).events == n + (n < 3)
    with pytest.raises(KeyboardInterrupt):
        broken.learn_all(events[6:20])
    assert broken.events == 8
    broken.learn_all(events[20:])
    monkeypatch.undo()
    sound.learn_all([*events[:3], *events[4:9], *events[20:]])
    assert bits(held(broken, tmp_path / "broken")) == bits(held(sound, tmp_path / "sound"))


def test_a_learner_goes_on_from_the_daemon(tmp_path: Path) -> None:
    """One event at a time; it keeps the offsets, so that the daemon can go on again."""
    script = script_of(80)
    whole, begun = daemon(script, tmp_path), daemon(script[:40], tmp_path)
    Homes().write(tmp_path / "state", begun)
    learner = Learner.load(tmp_path / "state", config=CONFIG)
    refused = 0
    for record in script[40:]:
        task, support, query, time_ms = given(record)
        try:
            learner.learn(task, support, query, time_ms=time_ms)
        except BadEvent:
            refused += 1
    assert refused
    learner.save(tmp_path / "state")
    after = Homes().read(tmp_path / "state")
    assert bits(after) == bits(whole)
    metas = [store.load() for store in (begun, after)]
    one, two = (unpack(meta).positions for meta in metas if meta is not None)
    assert one == two != {}


def test_known_events_stay_known_to_the_daemon(tmp_path: Path) -> None:
    """A learner that goes on in between, and knows no ids, keeps those that the state holds."""
    events = CONFIG.events.model_copy(update={"dedupe_window_events": 1000})
    config = CONFIG.model_copy(update={"events": events})
    records = make_script(5, partitions=1, tasks=6, events=12, poison=0)
    script = [
        record._replace(headers=(*record.headers, ("ce_id", b"%d" % number)))
        for number, record in enumerate(records)
    ]
    Homes().write(tmp_path / "state", daemon(script, tmp_path, config=config))
    learner = Learner.load(tmp_path / "state")
    learner.learn(*given(script[0])[:3])
    learner.save(tmp_path / "state")
    learned = learner.events
    again = [record._replace(offset=record.offset + script[-1].offset + 1) for record in script]
    after = daemon([*script, *again], tmp_path, Homes().read(tmp_path / "state"), config=config).load()
    assert after is not None
    assert unpack(after).progress.events == learned == 13


def test_many_at_once_are_the_daemons_iterations(tmp_path: Path) -> None:
    """With `batch = 2`, `learn_all` gathers the same iterations; not those of events alone."""
    script = make_script(3, partitions=1, tasks=5, events=30, poison=0)
    config = CONFIG.model_copy(update={"events": CONFIG.events.model_copy(update={"batch": 2})})
    learner, alone = Learner.from_config(config), Learner.from_config(CONFIG)
    assert learner.learn_all(map(given, script)) == (30, {})
    alone.learn_all(map(given, script))
    found = bits(held(learner, tmp_path / "s"))
    assert found == bits(daemon(script, tmp_path, config=config))
    assert found != bits(held(alone, tmp_path / "t"))


def test_tasks_that_are_forgotten_and_reset(tmp_path: Path) -> None:
    """`forget` and `reset` do what the daemon does at a tombstone and a reset in their place."""
    script = script_of(60)
    keys = {20: b"task-1", 30: b"task-2", 45: b"task-1", 50: b"nobody"}
    for place, key in keys.items():
        change = {"value": None, "headers": ()} if place < 45 else {"headers": ((CONTROL, RESET),)}
        script[place] = script[place]._replace(key=key, **change)
    learner, known = Learner.from_config(CONFIG), list[bool]()
    for place, record in enumerate(script):
        task = (record.key or b"").decode()
        if place in keys:
            known.append(learner.forget(task) if place < 45 else learner.reset(task))
            continue
        with suppress(BadEvent):
            learner.learn(task, *given(record)[1:3], time_ms=record.timestamp_ms)
    assert known == [True, True, True, False]
    assert bits(held(learner, tmp_path / "s")) == bits(daemon(script, tmp_path))
    assert not learner.forget("nobody")
    with pytest.raises(BadEvent, match="1 to 256 bytes"):
        learner.forget("")


def test_a_forgotten_task_is_unknown_to_predictions() -> None:
    """At once; one that was reset is known, and has no memory until its next visit."""
    learner = Learner.from_config(CONFIG)
    learner.learn_all(map(given, script_of(40)))
    x = np.ones((1, 2))
    assert not np.array_equal(learner.predict("task-1", x), learner.predict("task-1", x, at="meta"))
    for change in (learner.reset, learner.forget):
        change("task-1")
        assert np.array_equal(learner.predict("task-1", x), learner.predict("task-1", x, at="meta"))
        with pytest.raises(NoAnswer, match=r"not learned from since|not known"):
            learner.predict("task-1", x, at="memory")
        with pytest.raises(NoAnswer, match=r"not learned from since|never learned"):
            learner.module("task-1")


def test_single_examples(tmp_path: Path) -> None:
    """`learn_one` cuts the daemon's episodes, and what waits is the daemon's buffer."""
    table = {"kind": "examples", "support": 3, "query": 2, "stride": 2, "expire_after_events": 40}
    config = Config.model_validate({**CONFIG.model_dump(exclude_unset=True), "events": table})
    draws = np.random.default_rng(4)
    headers = (("content-type", MSGPACK.encode()),)
    script = []
    for number in range(100):
        x = draws.normal(size=(draws.integers(1, 4), 2))
        value = encode_msgpack(Batch(x, x[:, :1] + 1))
        script.append(Record("tasks", 0, number, number, b"t%d" % draws.integers(8), value, headers))
    learner = Learner.from_config(config)
    lessons = 0
    for record in script:
        examples = decode_examples(record, max_bytes=10_000)
        assert isinstance(examples, Examples)
        lessons += len(learner.learn_one(examples.task, *examples.examples, time_ms=examples.time_ms))
    assert lessons == learner.events > 30
    assert bits(held(learner, tmp_path / "s")) == bits(daemon(script, tmp_path, config=config))


@pytest.mark.parametrize("name", ["maml", "independent"])
def test_other_algorithms(name: str, tmp_path: Path) -> None:
    """Saved, loaded and gone on with, they come to what they come to uninterrupted."""
    script = make_script(8, partitions=1, tasks=3, events=16, poison=0)
    one, other = (Learner(args={"sizes": [2, 1]}, algorithm=name, meta_lr=0.05) for _ in range(2))
    one.learn_all(map(given, script))
    other.learn_all(map(given, script[:7]))
    other.save(tmp_path / "half")
    other = Learner.load(tmp_path / "half")
    other.learn_all(map(given, script[7:]))
    assert bits(held(other, tmp_path / "b")) == bits(held(one, tmp_path / "a"))
