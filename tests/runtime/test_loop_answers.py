"""Records without labels: answered in stream order, by the same bytes whatever is killed or cut."""

import json
import random
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streammeta.codec import CONTENT_TYPE, MSGPACK, SOURCE
from streammeta.config import Config
from streammeta.episodes.cutter import Sizes
from streammeta.errors import Reason
from streammeta.events import Record
from streammeta.models.network import Network
from streammeta.outcomes import Answered, Outcome, Refused, Skipped
from streammeta.runtime.answering import Answering
from streammeta.state.buffers import unpack_buffer
from tests.example_streams import HEADERS, make_examples, value_of
from tests.scripted import make_script
from tests.world import CONFIG, World, blueprint, rows_of, same

RECORDS = 70
OUTPUT = "tasks.answers"
SIZES = Sizes(2, 1, 1)
SEEDS = st.integers(0, 2**32)
Answers = list[tuple[Record, Record]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the order logs of this module."""
    return tmp_path_factory.mktemp("answers")


def config_of(kind: str = "examples", batch: int = 1, output: str = OUTPUT, **events: int) -> Config:
    """The configuration of the world, with answers."""
    table: dict[str, Any] = {"kind": kind, "batch": batch, **events}
    if kind == "examples":
        table |= {**SIZES._asdict(), "expire_after_events": 25, "label_wait_events": 20} | events
    base = CONFIG.model_dump(exclude_unset=True)
    return Config.model_validate({**base, "events": table, "predict": {"output_topic": output}})


def examples_that_ask(seed: int) -> list[Record]:
    """Examples with all that can go wrong, and between them records whose labels will not come."""
    draws, arrays, script = random.Random(seed), np.random.default_rng(seed), list[Record]()
    for record in make_examples(seed, partitions=3, tasks=5, records=RECORDS):
        script.append(record._replace(offset=2 * record.offset))
        if draws.random() < 0.3:
            x = arrays.normal(size=(draws.choice((1, 3)), draws.choice((2, 2, 2, 5))))
            script.append(record._replace(offset=2 * record.offset + 1, value=value_of(x=x), headers=HEADERS))
    return script


def episodes_that_ask(seed: int) -> list[Record]:
    """A stream of episodes, some without the labels of the query set, some of those without support set."""
    draws, script = random.Random(seed), list[Record]()
    for record in make_script(seed, partitions=3, tasks=5, events=RECORDS, odd=0.1, wild=0.05):
        if draws.random() < 0.4 and not (record.value or b"").startswith(b"\xc1"):
            body = msgspec.msgpack.decode(record.value or b"")
            del body["query"]["y"]
            if draws.random() < 0.5:
                del body["support"]
            body |= {"id": f"q-{record.offset}"} if draws.random() < 0.5 else {}
            record = record._replace(value=msgspec.msgpack.encode(body))
        script.append(record)
    return script


STREAMS = {"examples": examples_that_ask, "episode": episodes_that_ask}


@lru_cache(maxsize=16)
def uncut(kind: str, seed: int, batch: int, folder: Path) -> World:
    """The world after one undisturbed life."""
    script = STREAMS[kind](seed)
    pauses = frozenset(random.Random(seed).sample(range(1, len(script)), 5))
    world = World(script, folder, config_of(kind, batch), pauses)
    assert world.live()
    return world


def place_of(record: Record) -> tuple[int, int]:
    """Where it lies."""
    return record.partition, record.offset


def by_place(answers: Answers) -> dict[tuple[int, int], set[tuple[Any, ...]]]:
    """Different answers to each record."""
    found: dict[tuple[int, int], set[tuple[Any, ...]]] = {}
    for asked, answer in answers:
        found.setdefault(place_of(asked), set()).add((answer.key, answer.value, answer.headers))
    return found


def first_places(answers: Answers) -> list[tuple[int, int]]:
    """The records that asked, in the order of their first answers."""
    return [*dict.fromkeys(place_of(asked) for asked, _ in answers)]


def asks(record: Record) -> bool:
    """Whether a record that can be read brings inputs without labels."""
    if (record.value or b"").startswith(b"\xc1"):
        return False
    body = msgspec.msgpack.decode(record.value or b"")
    return "y" not in body.get("query", body)


@given(data=st.data(), kind=st.sampled_from(sorted(STREAMS)))
@settings(max_examples=10, deadline=None)
def test_any_cuts_and_any_kills_give_the_same_answers(data: st.DataObject, kind: str, folder: Path) -> None:
    """Polled in any pieces, killed anywhere: each question answered, repeats byte for byte."""
    seed, batch = data.draw(SEEDS, label="script"), data.draw(st.integers(1, 3), label="batch")
    fuses = data.draw(st.lists(st.integers(1, 220), max_size=6), label="kills")
    draws = random.Random(data.draw(st.integers(0, 2**32), label="pieces"))
    reference = uncut(kind, seed, batch, folder)
    world = World(reference.script, folder, reference.config, reference.pauses)
    assert world.live_killed(fuses, draws)
    assert by_place(world.answered) == by_place(reference.answered)
    assert all(len(different) == 1 for different in by_place(world.answered).values())
    assert {place_of(r) for r, _ in world.dead} == {place_of(r) for r, _ in reference.dead}
    assert same(world, reference)


@pytest.mark.parametrize("kind", sorted(STREAMS))
@pytest.mark.parametrize("batch", [1, 3])
def test_nothing_that_is_asked_changes_what_is_learned(kind: str, batch: int, folder: Path) -> None:
    """Every question is answered or a dead letter; without them the same bits are learned."""
    world = uncut(kind, 1, batch, folder)
    asked = [place_of(record) for record in world.script if asks(record)]
    refused = {place_of(record) for record, _ in world.dead}
    assert [place for place in asked if place not in refused] == [
        place for place in sorted(first_places(world.answered), key=asked.index) if place not in refused
    ]
    assert len(world.answered) > 10
    silent = World(world.script, folder, config_of(kind, batch, output=""), world.pauses)
    assert silent.live()
    assert torch.equal(silent.checkpoint().state.params, world.checkpoint().state.params)
    assert repr(silent.rows()) == repr(world.rows())
    assert not silent.answered


def plain(record: Record) -> dict[str, Any]:
    """A record's value, tensors as arrays."""
    if dict(record.headers).get(CONTENT_TYPE) == MSGPACK.encode():
        body: dict[str, Any] = msgspec.msgpack.decode(record.value or b"")
    else:
        body = json.loads(record.value or b"")
    return {name: array(value) if name in "xy" else value for name, value in body.items()}


def array(tensor: Any) -> Any:
    """A tensor of MessagePack, or of JSON."""
    if isinstance(tensor, dict):
        return np.frombuffer(tensor["data"], tensor["dtype"]).reshape(tensor["shape"])
    return np.array(tensor)


def delayed(tasks: int = 3, rounds: int = 12, *, json_too: bool = True) -> Iterable[Record]:
    """Inputs, then their labels under the same id, one task after the other."""
    arrays, offset = np.random.default_rng(5), 0
    for number in range(rounds):
        for task in range(tasks):
            x = arrays.normal(size=(1, 2))
            for fields in ({"id": number, "x": x}, {"id": number, "y": x[:, :1] * (task + 1)}):
                value = value_of(**fields)
                headers: tuple[tuple[str, bytes], ...] = HEADERS
                if json_too and number % 2:
                    lists = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in fields.items()}
                    value, headers = json.dumps(lists).encode(), ()
                yield Record("tasks", 0, offset, offset, f"task-{task}".encode(), value, headers)
                offset += 1


def test_the_loss_is_that_of_the_answer_published_before(folder: Path) -> None:
    """Prequential truth: the label's loss is the published answer's, where nothing was learned in between."""
    told: list[Outcome] = []
    world = World([*delayed()], folder, config_of())
    assert world.live(observers=(told.append,))
    labels = {record.offset - 1: plain(record)["y"] for record in world.script[1::2]}
    answers = {asked.offset: plain(answer) for asked, answer in world.answered}
    assert sorted(answers) == [record.offset for record in world.script[::2]]
    adapted = [offset for offset, answer in answers.items() if answer["at"] == "adapted"]
    losses = {offset: float(np.mean((answers[offset]["y"] - labels[offset]) ** 2)) for offset in answers}
    rows = rows_of(told)
    learned_at = sorted(answers)[2 * 3 :]  # the third example of a task completes its first episode
    assert np.allclose(
        [losses[offset] for offset in learned_at], [row.loss_adapted for row in rows], rtol=1e-12
    )
    assert len(rows) == 30
    assert set(adapted) >= set(learned_at)
    assert [answers[offset]["events"] for offset in learned_at] == [row.events - 1 for row in rows]
    assert [answers[offset]["task_events"] for offset in learned_at] == [row.task_events - 1 for row in rows]


def test_what_an_answer_holds(folder: Path) -> None:
    """Key, value and headers as the contract has them, in the encoding of the record that asked."""
    world = World([*delayed(tasks=1, rounds=2)], folder, config_of())
    assert world.live()
    (_, one), (_, two) = world.answered
    assert (one.key, one.headers) == (
        b"task-0",
        ((CONTENT_TYPE, MSGPACK.encode()), (SOURCE, b"tasks/0/0")),
    )
    assert (two.key, two.headers) == (
        b"task-0",
        ((CONTENT_TYPE, b"application/json"), (SOURCE, b"tasks/0/2")),
    )
    assert [*plain(one)] == [*plain(two)] == ["id", "y", "at", "events", "task_events"]
    assert (plain(one)["at"], plain(two)["at"]) == ("meta", "adapted")
    assert (plain(one)["id"], plain(two)["id"]) == (0, 1)
    made, x = blueprint().network, plain(world.script[0])["x"]
    assert np.array_equal(plain(one)["y"], at_meta(made, x))


def at_meta(made: Network, x: Any) -> Any:
    """What the first parameters predict."""
    with torch.no_grad():
        return made.predict(made.initial, torch.tensor(x)).numpy()


def ask_for(offset: int, key: str = "task-0", **fields: Any) -> Record:
    """A record of MessagePack."""
    return Record("tasks", 0, offset, offset, key.encode(), value_of(**fields), HEADERS)


def test_what_cannot_be_answered_is_a_dead_letter(folder: Path) -> None:
    """With the reason and the stage; inputs with an id are kept for their label all the same."""
    ok, odd = np.ones((1, 2)), np.ones((1, 5))
    script = [ask_for(0, x=odd), ask_for(2, x=ok), ask_for(3, id=7, x=odd)]
    told: list[Outcome] = []
    world = World(script, folder, config_of())
    assert world.live(observers=(told.append,))
    letters = {record.offset: refusal for record, refusal in world.dead}
    assert {offset: (letter.reason, letter.stage) for offset, letter in letters.items()} == {
        0: (Reason.SHAPE_MISMATCH, "predict"),
        3: (Reason.SHAPE_MISMATCH, "predict"),
    }
    assert [asked.offset for asked, _ in world.answered] == [2]
    assert world.checkpoint().refused == {}
    kinds = [type(outcome) for outcome in told if isinstance(outcome, Answered | Refused | Skipped)]
    assert (kinds.count(Answered), kinds.count(Refused), kinds.count(Skipped)) == (1, 2, 1)
    (row,) = world.rows().values()
    assert [*unpack_buffer(row.buffer)[0].halves] == ["7"]


def test_a_prediction_that_overflows_is_a_dead_letter(folder: Path) -> None:
    """Its reason is one of its own."""
    far = np.full((1, 1), 1e300)
    world = World([question(support=(np.ones((1, 2)), far))], folder, config_of("episode"))
    assert world.live()
    assert [refusal.reason for _, refusal in world.dead] == [Reason.NON_FINITE_PREDICTION]


def test_an_answer_that_the_topic_cannot_hold(folder: Path) -> None:
    """The record that asked is set aside before its offset moves on; the others are answered."""
    script = [ask_for(offset, x=np.ones((1 + 9 * (offset == 3), 2))) for offset in range(6)]
    world = World(script, folder, config_of(), takes=lambda answer: len(answer.value or b"") < 110)
    assert world.live()
    assert [(record.offset, refusal.reason) for record, refusal in world.dead] == [(3, Reason.TOO_LARGE)]
    assert [asked.offset for asked, _ in world.answered] == [0, 1, 2, 4, 5]
    assert world.checkpoint().positions == {0: 6}


def test_without_waiting_for_labels_inputs_only_ask(folder: Path) -> None:
    """With label_wait_events = 0 nothing of them is kept, and a label that follows is a dead letter."""
    world = World([*delayed(tasks=1, rounds=1)], folder, config_of(label_wait_events=0))
    assert world.live()
    assert [asked.offset for asked, _ in world.answered] == [0]
    assert [record.offset for record, _ in world.dead] == [1]
    assert world.rows() == {}


def test_no_output_topic_says_where_answers_would_go(folder: Path) -> None:
    """A question is a dead letter then, whose message names the setting; inputs with an id wait as ever."""
    script = [ask_for(0, x=np.ones((1, 2))), ask_for(1, id="a", x=np.ones((1, 2)))]
    for kind, refused in (("examples", [0]), ("episode", [0])):
        world = World(script if kind == "examples" else [question()], folder, config_of(kind, output=""))
        assert world.live()
        assert [record.offset for record, _ in world.dead] == refused
        assert all("predict.output_topic" in str(refusal) for _, refusal in world.dead)


def question(support: tuple[Any, Any] | None = None) -> Record:
    """Of episodes: a query set without labels."""
    body: dict[str, Any] = {"query": {"x": tensor_of(np.ones((1, 2)))}}
    if support is not None:
        body["support"] = dict(zip("xy", map(tensor_of, support), strict=True))
    return Record("tasks", 0, 0, 0, b"task-0", msgspec.msgpack.encode(body), HEADERS)


def tensor_of(array: Any) -> dict[str, Any]:
    """As MessagePack has it."""
    return {"dtype": "<f8", "shape": array.shape, "data": array.tobytes()}


def test_what_is_unknown_stays_unknown(folder: Path) -> None:
    """Questions about any number of tasks leave no row behind, and fill no cache."""
    script = [ask_for(offset, f"stranger-{offset}", x=np.ones((1, 2))) for offset in range(40)]
    world = World(script, folder, config_of())
    assert world.live()
    assert len(world.answered) == 40
    assert world.rows() == {}
    assert {plain(answer)["at"] for _, answer in world.answered} == {"meta"}


@pytest.mark.parametrize("batch", [1, 3])
def test_a_replay_answers_nobody_and_ends_in_the_same_bits(batch: int, folder: Path) -> None:
    """What was asked is in the recording and passed over."""
    source = uncut("examples", 1, batch, folder)
    world = World(source.script, folder, source.config, source.pauses, part_bytes=2000)
    assert world.live()
    replayed = world.replayed()
    assert not replayed.answered
    assert same(replayed, world)


def test_the_order_is_on_the_disk_before_an_answer_is_sent(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut may not change what was answered."""
    moments: list[str] = []
    publish = Answering.publish

    def spied(self: Answering) -> Any:
        sync, send = self.sync, self.answers.send
        self.sync = lambda: moments.append("sync") or sync()  # type: ignore[func-returns-value]  # a spy
        self.answers.send = lambda *pair: moments.append("send") or send(*pair)  # type: ignore[method-assign, func-returns-value]  # a spy
        try:
            return publish(self)
        finally:
            self.sync, self.answers.send = sync, send  # type: ignore[method-assign]  # a spy

    monkeypatch.setattr(Answering, "publish", spied)
    world = World([*delayed(tasks=1, rounds=3)], folder, config_of())
    assert world.live()
    assert moments.count("send") == 3
    assert moments[0] == "sync"


def test_all_kinds_of_answers_occur(folder: Path) -> None:
    """The streams of this module hold what they shall be proof against."""
    kinds: set[str] = set()
    for kind in STREAMS:
        world = uncut(kind, 1, 1, folder)
        kinds |= {plain(answer)["at"] for _, answer in world.answered}
        assert world.checkpoint().progress.events > 10
        unanswered = [refusal for _, refusal in world.dead if refusal.stage == "predict"]
        assert bool(unanswered) == (kind == "examples")
    assert kinds == {"meta", "memory", "adapted"}
