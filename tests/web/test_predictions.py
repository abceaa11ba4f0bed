"""`POST /api/v1/predict` as a client meets it: numbers by other hands, whole states, refusals in words."""

import json
import shlex
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
from jsonschema import Draft202012Validator

from streammeta.cli.quickstart import _greet
from streammeta.config import Config
from streammeta.models.loading import load_network
from streammeta.models.network import Network
from streammeta.runtime.predicting import predictor_for
from streammeta.serving.asking import Ask
from streammeta.serving.commits import Commits
from streammeta.serving.desk import Answered, Desk
from streammeta.state.checkpoint import pack
from streammeta.state.directory import StateDirectory
from streammeta.state.lmdb_store import LmdbStore
from streammeta.web import predictions
from streammeta.web.app import make_app
from streammeta.web.server import HttpServer
from tests.serving.states import Asked, adapted, asked, forward, parameters
from tests.states import TASKS, checkpoint_of, row_of
from tests.web.shown import Daemon

TASKS_ASKED = 200
PATH = "/api/v1/predict"


def network(config: Config) -> Network:
    """The network of a configuration."""
    model = config.model
    return load_network(model.factory, model.args, loss=model.loss, seed=0, dtype=model.dtype, device="cpu")


def serving(config: Config, store: LmdbStore) -> HttpServer:
    """A port that answers from the store."""
    desk = Desk([Commits(store)], predictor_for(config, network(config)), time.time, 100_000)
    return HttpServer(make_app(Daemon().shown, token=None, local=True, desk=desk), "127.0.0.1", 0)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    """A state of 200 tasks."""
    return asked(tmp_path_factory.mktemp("asked"), TASKS_ASKED)


@pytest.fixture(scope="module")
def http(state: Asked) -> Iterator[httpx.Client]:
    """A client of a port that answers from it."""
    with closing(LmdbStore(StateDirectory(state.path).lmdb_path, readonly=True)) as store:
        server = serving(state.config, store)
        server.start()
        with httpx.Client(base_url=server.address, trust_env=False, timeout=120) as client:
            yield client
        server.stop()


def wanted(state: Asked, task: str, at: str, x: np.ndarray) -> np.ndarray:
    """What NumPy computes from the export."""
    meta = parameters(state.export, "meta")
    match at:
        case "meta":
            return forward(meta, x)
        case "memory":
            return forward(parameters(state.export, f"task/{task}"), x)
        case "adapted":
            return forward(adapted(meta, state.held[task]), x)
    return wanted(state, task, "adapted" if task in state.held else "memory", x)


@pytest.mark.parametrize("at", ["auto", "meta", "memory", "adapted"])
def test_numbers_by_other_hands(at: str, state: Asked, http: httpx.Client) -> None:
    """For 200 tasks NumPy, from an export of the same commit, agrees; in JSON and in MessagePack."""
    draws = np.random.default_rng(3)
    tasks = [task for task in state.names if at != "adapted" or task in state.held]
    inputs = [draws.normal(size=(1 + number % 3, 1)) for number in range(len(tasks))]
    asks = [{"task": task, "x": x.tolist(), "at": at} for task, x in zip(tasks, inputs, strict=True)]
    answers = http.post(PATH, json=asks).json()
    assert len(answers) == len(tasks) >= 130
    found = [np.array(answer["y"]) for answer in answers]
    for task, x, answer, y in zip(tasks, inputs, answers, found, strict=True):
        np.testing.assert_allclose(y, wanted(state, task, at, x), rtol=0, atol=1e-5)
        assert (answer["task"], answer["known"], answer["task_events"]) == (task, True, 1)
        assert answer["events"] == TASKS_ASKED
    assert len({y.tobytes() for y in found}) > 100
    packed = [{**ask, "x": tensor(x)} for ask, x in zip(asks, inputs, strict=True)]
    told = http.post(
        PATH, content=msgspec.msgpack.encode(packed), headers={"content-type": "application/msgpack"}
    )
    assert told.headers["content-type"] == "application/msgpack"
    for answer, y in zip(msgspec.msgpack.decode(told.content), found, strict=True):
        np.testing.assert_allclose(array(answer["y"]), y, rtol=0, atol=1e-6)


def tensor(x: np.ndarray) -> dict[str, Any]:
    """As MessagePack has it."""
    return {"dtype": "<f8", "shape": x.shape, "data": x.tobytes()}


def array(found: dict[str, Any]) -> np.ndarray:
    """And back."""
    return np.frombuffer(found["data"], found["dtype"]).reshape(found["shape"])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"at": "memori"}, "at: 'memori' is none of auto, meta, memory, adapted"),
        ({"x": [[0.1]] * 10_001}, "x: 10,001 examples, more than events.max_examples = 10,000; send fewer"),
        ({"task": "new", "at": "memory"}, "the task 'new' is not known, so it has no memory; ask at meta"),
        ({"task": "new", "at": "adapted"}, "send a support set, or ask at auto, memory or meta"),
        ({"task": "a" * 300}, "task: 300 bytes; an id has 1 to 256 bytes"),
        ({"x": [[float("-inf")]]}, "x: -Infinity is no number in JSON; send finite numbers"),
    ],
)
def test_a_refusal_names_field_value_and_remedy(body: dict[str, Any], words: str, http: httpx.Client) -> None:
    """So that whoever asks knows what to send instead."""
    told = http.post(PATH, content=json.dumps({"task": "task-1", "x": [[1]], **body})).json()
    assert words in told["detail"]


def test_a_support_set_goes_before_the_buffer(state: Asked, http: httpx.Client) -> None:
    """Of a known task and of one never seen, adapted from w on what was sent."""
    x = np.array([[0.3], [-0.7]], np.float32)
    support = {"x": [[0.1], [0.2]], "y": [[1.0], [-2.0]]}
    sets = {name: np.array(values, np.float32) for name, values in support.items()}
    meta = parameters(state.export, "meta")
    right = forward(adapted(meta, type(state.held["task-1"])(**sets)), x)
    for task, known in (("task-1", True), ("never seen", False)):
        answer = http.post(PATH, json={"task": task, "x": x.tolist(), "support": support}).json()
        assert (answer["at"], answer["known"]) == ("adapted", known)
        np.testing.assert_allclose(answer["y"], right, rtol=0, atol=1e-5)
    answer = http.post(PATH, json={"task": "never seen", "x": x.tolist(), "more": 1}).json()
    assert (answer["at"], answer["events"], answer["task_events"]) == ("meta", TASKS_ASKED, 0)
    np.testing.assert_allclose(answer["y"], forward(meta, x), rtol=0, atol=1e-5)


GOOD: dict[str, object] = {"task": "task-1", "x": [[0.5]]}
SET: dict[str, object] = {"x": [[0.5]], "y": [[0.5]]}
HUGE = {"x": [[1e30]], "y": [[1e30]]}


@pytest.mark.parametrize(
    ("body", "status", "reason", "field", "index"),
    [
        ({**GOOD, "task": "new", "at": "memory"}, 422, "no_memory", "at", 0),
        ({**GOOD, "task": "new", "at": "adapted"}, 422, "no_support", "support", 0),
        ([GOOD, {**GOOD, "x": [[1, 2]]}], 422, "shape_mismatch", "x", 1),
        ([GOOD, GOOD, {**GOOD, "support": {**SET, "y": [[1], [2]]}}], 422, "shape_mismatch", "support.y", 2),
        ([GOOD, {**GOOD, "support": {**SET, "x": [[1, 2]]}}], 422, "shape_mismatch", "support.x", 1),
        ({**GOOD, "x": [[1], [2, 3]]}, 422, "bad_tensor", "x", 0),
        ({**GOOD, "x": []}, 422, "empty_set", "x", 0),
        ({**GOOD, "x": [[0.1]] * 10_001}, 422, "too_large", "x", 0),
        ([GOOD, {**GOOD, "x": [[1e300]]}], 422, "non_finite_input", "x", 1),
        ([GOOD, {**GOOD, "support": HUGE}], 422, "non_finite_prediction", "support", 1),
        ([GOOD, GOOD, {**GOOD, "support": {**SET, "y": [[1, 2]]}}], 422, "shape_mismatch", "support.y", 2),
        ({**GOOD, "at": "best"}, 422, "invalid", "at", 0),
        ([GOOD, {"x": [[1]]}], 422, "invalid", "task", 1),
        ([GOOD, {**GOOD, "task": ""}], 422, "bad_task_id", "task", 1),
        ([GOOD, {**GOOD, "task": "a" * 257}], 422, "bad_task_id", "task", 1),
        ([GOOD] * 1001, 422, "too_large", "", 0),
        ([], 422, "empty_set", "", 0),
        ("text", 422, "invalid", "", 0),
        ({**GOOD, "support": {"x": [[1]]}}, 422, "invalid", "support.y", 0),
        (b'{"task": "task-1", "x": [[NaN]]}', 422, "non_finite_input", "x", 0),
        (
            b'[{"task": "task-1", "x": [[1]]}, {"task": "NaN", "x": [[1]], "support": {"x": [[1]], '
            b'"y": [[-Infinity]]}}]',
            422,
            "non_finite_input",
            "support.y",
            1,
        ),
        (b'{"task": "task-1", "x": [[NaN', 422, "non_finite_input", "", 0),
        (b"{", 400, "undecodable", "", 0),
        (b" " * 100_001, 413, "too_large", None, None),
    ],
)
def test_refusals(
    body: object, status: int, reason: str, field: str | None, index: int | None, http: httpx.Client
) -> None:
    """Problem details that name the field, and which one of a list; then good ones are answered as before."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    refused = http.post(PATH, content=content)
    assert refused.status_code == status, refused.text
    assert refused.headers["content-type"] == "application/problem+json"
    told = refused.json()
    assert (told["reason"], told.get("field"), told.get("index")) == (reason, field, index), told
    assert told["status"] == status
    assert told["detail"]
    assert http.post(PATH, json=GOOD).status_code == 200


def test_the_line_that_the_quickstart_prints(http: httpx.Client, capsys: pytest.CaptureFixture[str]) -> None:
    """It can be pasted into a shell, and is answered."""
    _greet(str(http.base_url).rstrip("/"))
    line = capsys.readouterr().out.splitlines()[1].removeprefix("ask it: ")
    curl, quiet, address, header, content_type, data, body = shlex.split(line)
    assert (curl, quiet, header, data) == ("curl", "-s", "-H", "-d")
    name, _, value = content_type.partition(": ")
    answer = http.post(address, headers={name: value}, content=body)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["y"]) == 3


def test_other_encodings(http: httpx.Client) -> None:
    """Another content type is 415; the answer comes in the encoding that alone is accepted."""
    assert http.post(PATH, content=b"x", headers={"content-type": "text/plain"}).status_code == 415
    answer = http.post(PATH, json=GOOD, headers={"accept": "application/msgpack"})
    assert array(msgspec.msgpack.decode(answer.content)["y"]).shape == (1, 1)
    assert http.put(PATH).status_code == 405


def test_too_much_at_once(http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where bodies fill more than they may, one is told to come again; what was read is let go of."""
    monkeypatch.setattr(predictions, "MOST_BODIES", 0)
    for _ in range(3):
        busy = http.post(PATH, json=GOOD)
        assert (busy.status_code, busy.headers["retry-after"]) == (503, "1")
    monkeypatch.setattr(predictions, "MOST_BODIES", 0.001)  # a hundred bytes
    assert http.post(PATH, json=GOOD).status_code == 200


def test_what_is_small_and_quick_is_answered_at_once(
    http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the server's thread; what is large, or followed a slow one, in one that delays no probe."""
    by, slow, asked = [], [False], Desk.answer

    def answer(desk: Desk, asks: Sequence[Ask]) -> Answered:
        by.append(threading.current_thread().name)
        if slow[0]:
            until = time.thread_time() + 2 * predictions.QUICK_SECONDS
            while time.thread_time() < until:
                pass
        return asked(desk, asks)

    http.post(PATH, json=GOOD)  # its shape is known
    monkeypatch.setattr(predictions, "QUICK_SECONDS", 0.02)
    monkeypatch.setattr(Desk, "answer", answer)
    for is_slow, asks in ((False, GOOD), (False, [GOOD] * 200), (True, GOOD), (False, GOOD), (False, GOOD)):
        slow[0] = is_slow
        assert http.post(PATH, json=asks).status_code == 200
    assert [name == "http" for name in by] == [True, False, True, False, True]


def test_the_document(http: httpx.Client) -> None:
    """Every route is told; real requests, answers and refusals are valid by it."""
    document = http.get("/openapi.json").json()
    routes = {path for path in document["paths"] if "{" not in path and path != PATH}
    for path in routes - {"/api/v1/stream"}:
        assert http.get(path).status_code in (200, 503), path
    for name, value in (
        ("Ask", {**GOOD, "support": SET, "at": "adapted"}),
        ("Answer", http.post(PATH, json=GOOD).json()),
        ("Problem", http.post(PATH, json={**GOOD, "x": []}).json()),
    ):
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        Draft202012Validator(schema).validate(value)


def test_every_answer_is_of_one_whole_state(tmp_path: Path) -> None:
    """While a writer commits states whose halves betray themselves, none is seen half; newer ones come."""
    config = Config.model_validate({"model": {"args": {"sizes": [2, 1]}}, "algorithm": {"order": "first"}})
    with closing(LmdbStore(tmp_path / "lmdb")) as store:
        committed, done = [0], threading.Event()

        def commit() -> None:
            committed[0] += 1
            number = committed[0]
            store.commit(pack(checkpoint_of(number)), {task: row_of(number) for task in TASKS})

        def write() -> None:
            while not done.is_set():
                commit()

        commit()
        server = serving(config, store)
        server.start()
        writer = threading.Thread(target=write)
        writer.start()
        seen: list[int] = []
        try:
            clients = [threading.Thread(target=ask, args=(server.address, seen)) for _ in range(3)]
            for client in clients:
                client.start()
            for client in clients:
                client.join()
        finally:
            done.set()
            writer.join()
            server.stop()
    assert len(seen) == 90
    assert len(set(seen)) > 10
    assert committed[0] >= max(seen)


def ask(address: str, seen: list[int]) -> None:
    """Thirty lists, each answered from one state: 3n + ¾ at w, 3n at every memory, n events."""
    asks = [{"task": task, "x": [[1, 1]], "at": at} for task in TASKS for at in ("meta", "memory")]
    with httpx.Client(base_url=address, trust_env=False, timeout=120) as client:
        for _ in range(30):
            answers = client.post(PATH, json=asks).json()
            number = answers[0]["events"]
            for answer in answers:
                right = 3 * number + 0.75 if answer["at"] == "meta" else 3 * number
                assert (answer["y"], answer["events"]) == ([[right]], number), answer
            seen.append(number)
