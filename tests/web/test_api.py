"""The API beside the status: history, tasks, settings, the stream; and the token as a browser gives it."""

import json
import shlex
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from streammeta.config import Config
from streammeta.config.secret import MASK
from streammeta.config.show import document
from streammeta.evaluation.drift import Detection
from streammeta.observe.snapshot import Snapshot
from streammeta.state.quarantine import Held
from streammeta.state.store import TaskStats
from streammeta.web import feed
from tests.observe.outcomes import checkpointed, learned, refused, turned
from tests.web.shown import Daemon

TOKEN = "correct horse battery staple"  # noqa: S105 (made up here)
ODD = 'a/b "<img src=x onerror=alert(1)>" ünï'


@pytest.fixture
def daemon(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """A running server; with a token where the test gives one as parameter."""
    daemon = Daemon(getattr(request, "param", None))
    daemon.server.start()
    yield daemon
    daemon.status.stop()
    daemon.server.stop()


@pytest.fixture
def http(daemon: Daemon) -> Iterator[httpx.Client]:
    """A client of that server."""
    with httpx.Client(base_url=daemon.server.address, trust_env=False, timeout=120) as client:
        yield client


def second(daemon: Daemon, events: int) -> None:
    """A second of learning, up to so many events."""
    for task in ("a", "b", ODD):
        daemon.tell(learned(events=events, task=task, task_events=events, task_loss=float(len(task))))
    daemon.clock.seconds += 1.001
    daemon.tell(turned(lag=[7]))


def messages(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """The data of each server-sent event."""
    for line in lines:
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def test_history_has_both_axes(daemon: Daemon, http: httpx.Client) -> None:
    """Columns of equal length over events and over time; reasons only where there was a dead letter."""
    daemon.tell(refused())
    second(daemon, 1)
    second(daemon, 2)
    history = http.get("/api/v1/history").json()
    assert history["rows"] == 2
    assert history["events"]["columns"]["events"] == [1, 1, 1, 2, 2, 2]
    assert history["time"]["columns"]["lag"] == [7, 7]
    assert history["time"]["columns"]["dead_letters_bad_tensor"] == [1, 0]
    assert "dead_letters_too_large" not in history["time"]["columns"]
    for track in ("events", "time"):
        assert len({len(column) for column in history[track]["columns"].values()}) == 1
    second(daemon, 3)
    assert http.get("/api/v1/history").json()["rows"] == 3


def test_before_the_first_event_the_history_is_empty(http: httpx.Client) -> None:
    """Empty columns, not an error."""
    history = http.get("/api/v1/history").json()
    assert history["rows"] == 0
    assert set(map(len, history["events"]["columns"].values())) == {0}


def test_tasks_are_sorted_and_searched(daemon: Daemon, http: httpx.Client) -> None:
    """By what the query says; the counts tell how many there are."""
    second(daemon, 1)
    answer = http.get("/api/v1/tasks").json()
    assert (answer["known"], answer["matching"]) == (3, 3)
    assert answer["tasks"][0]["task"] == ODD
    assert set(answer["tasks"][0]) == {
        *("task", "events", "staleness_events", "loss", "last_seen", "recent"),
        *("drifts", "drift_event", "loss_before", "loss_after"),
        *("quarantined_event", "quarantined_norm"),
    }
    found = http.get("/api/v1/tasks", params={"search": "ÜNÏ", "limit": 1, "sort": "events"}).json()
    assert (found["matching"], [task["task"] for task in found["tasks"]]) == (1, [ODD])


def test_drift_is_listed_and_marked(daemon: Daemon, http: httpx.Client) -> None:
    """The tasks that got worse alone, with their levels; marks in the history and in messages."""
    second(daemon, 1)
    assert http.get("/api/v1/history").json()["marks"] == []
    daemon.tell(replace(learned(events=7, task="a"), drifts=[Detection("a", 7, 0.1, 0.5)]))
    second(daemon, 3)
    answer = http.get("/api/v1/tasks", params={"sort": "drift"}).json()
    assert answer["matching"] == 1
    (worse,) = answer["tasks"]
    assert (worse["task"], worse["drifts"], worse["drift_event"]) == ("a", 1, 7)
    assert (worse["loss_before"], worse["loss_after"]) == (0.1, 0.5)
    (mark,) = http.get("/api/v1/history").json()["marks"]
    assert (mark["kind"], mark["events"], mark["words"]) == ("tasks", 7, "a got worse")
    assert json.loads(daemon.shown.live())["marks"] == [mark]


def test_quarantine_is_listed_with_its_way_out(daemon: Daemon, http: httpx.Client) -> None:
    """A task held back says since when, also one never learned from; its own answer has the command."""
    second(daemon, 1)
    never = "-o'brien; rm"
    held = {"a": Held(2, 70.5), never: Held(3, float("inf"))}
    daemon.tell(replace(checkpointed(), quarantined=held))
    answer = http.get("/api/v1/tasks", params={"sort": "quarantine"}).json()
    assert [row["task"] for row in answer["tasks"]] == [never, "a"]
    assert [row["quarantined_event"] for row in answer["tasks"]] == [3, 2]
    assert [row["quarantined_norm"] for row in answer["tasks"]] == [None, 70.5]
    shown = http.get(f"/api/v1/tasks/{quote(never, safe='')}").json()
    assert (shown["events"], shown["last_seen"]) == (0, None)
    assert shlex.split(shown["release"])[1:] == ["tasks", "release", "--config", "FILE", "--", never]
    assert http.get(f"/api/v1/tasks/{quote(ODD, safe='')}").json()["release"] is None
    daemon.tell(replace(checkpointed(), quarantined={}))
    assert http.get("/api/v1/tasks/a").json()["quarantined_event"] is None
    assert http.get(f"/api/v1/tasks/{quote(never, safe='')}").status_code == 404


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("sort=size", "sort=size: one of loss, events, seen, staleness, drift, quarantine, task"),
        ("limit=0", "limit=0: a whole number from 1 to 1000"),
        ("limit=1001", "limit=1001"),
        ("limit=ten", "limit=ten"),
        ("limit=²", "limit=²"),
        ("limit=99999999999999999999", "limit=9999"),
    ],
)
def test_a_wrong_query_is_named(query: str, said: str, http: httpx.Client) -> None:
    """400, with the parameter and what it may be."""
    answer = http.get(f"/api/v1/tasks?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(said)


def test_one_task(daemon: Daemon, http: httpx.Client) -> None:
    """Live numbers with the last visits; stored ones of a task not seen since the start; else 404."""
    second(daemon, 4)
    daemon.stored["old"] = TaskStats(9, 1, 1_000, 3.0, 2.0, 1.0, 0.25)
    odd = http.get(f"/api/v1/tasks/{ODD.replace('/', '%2F')}").json()
    assert (odd["task"], odd["events"], odd["visits"]["at"]) == (ODD, 4, [4])
    old = http.get("/api/v1/tasks/old").json()
    assert (old["events"], old["staleness_events"], old["loss"], old["memory_norm"]) == (9, 3, 1.0, 0.25)
    assert (old["visits"], old["last_seen"]) == (None, "1970-01-01T00:00:01.000+00:00")
    assert http.get("/api/v1/tasks/none").status_code == 404


def test_settings_are_masked_and_in_force() -> None:
    """Secrets are hidden; learning rates are those of the last event."""
    client = {"sasl_plain_password": "hunter2", "sasl_plain_username": "u", "sasl_mechanism": "PLAIN"}
    config = Config.model_validate({"kafka": {"client": {**client, "security_protocol": "SASL_SSL"}}})
    daemon = Daemon(settings=document(config))
    daemon.tell(learned(inner_lr=0.25))
    daemon.server.start()
    try:
        text = httpx.get(f"{daemon.server.address}/api/v1/config", trust_env=False).text
    finally:
        daemon.server.stop()
    assert "hunter2" not in text
    settings = json.loads(text)
    assert settings["kafka"]["client"]["sasl_plain_password"] == MASK
    assert settings["algorithm"]["inner_lr"] == 0.25
    assert settings["state"]["checkpoint_seconds"] == 5.0


def test_the_stream_tells_what_is_new(daemon: Daemon, http: httpx.Client) -> None:
    """A message at once and one a second: status, troubles, the last rows; it ends with the daemon."""
    second(daemon, 1)
    with http.stream("GET", "/api/v1/stream") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-content-type-options"] == "nosniff"
        told = messages(answer.iter_lines())
        first = next(told)
        assert (first["status"]["events"], first["rows"]["to"]) == (1, 1)
        second(daemon, 2)
        daemon.tell(turned(connected=False))
        later = next(told)
        assert (later["status"]["events"], later["rows"]["to"]) == (2, 2)
        assert later["rows"]["columns"]["events"] == [1, 2]
        assert [trouble["code"] for trouble in later["status"]["troubles"]] == ["no_broker"]
        daemon.status.stop()
        *_, last = told
        assert last["status"]["state"] == "stopped"


def test_one_message_serves_all_pages(
    daemon: Daemon, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five listeners for some seconds cost one message a second."""
    snapshot, made = daemon.status.snapshot, []

    def counted() -> Snapshot:
        made.append(time.monotonic())
        return snapshot()

    monkeypatch.setattr(daemon.status, "snapshot", counted)
    received: list[int] = []

    def listen() -> None:
        with http.stream("GET", "/api/v1/stream") as answer:
            told = messages(answer.iter_lines())
            received.append(sum(1 for _, _ in zip(range(4), told, strict=False)))

    listeners = [threading.Thread(target=listen) for _ in range(5)]
    began = time.monotonic()
    for listener in listeners:
        listener.start()
    for listener in listeners:
        listener.join(20)
    assert received == [4] * 5
    assert 4 <= len(made) <= time.monotonic() - began + 2


def test_pages_are_bounded(http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """One too many is refused in words; a place that is left can be taken."""
    monkeypatch.setattr(feed, "MAX_PAGES", 1)
    with http.stream("GET", "/api/v1/stream") as answer:
        told = messages(answer.iter_lines())
        next(told)
        refused_one = http.get("/api/v1/stream")
        assert (refused_one.status_code, refused_one.text) == (503, "1 pages are open; close one\n")
    deadline = time.monotonic() + 120
    while True:
        with http.stream("GET", "/api/v1/stream") as answer:
            if answer.status_code == 200:
                break
        assert time.monotonic() < deadline


@pytest.mark.parametrize("daemon", [TOKEN], indirect=True)
def test_a_browser_gives_the_token_once(daemon: Daemon, http: httpx.Client) -> None:
    """`/?token=` leads to the page with a cookie that opens everything, and does not hold the token."""
    assert http.get("/", params={"token": "wrong"}).status_code == 401
    assert http.get("/api/v1/status", params={"token": TOKEN}).status_code == 401
    admitted = http.get("/", params={"token": TOKEN})
    assert (admitted.status_code, admitted.headers["location"]) == (303, "./")
    cookie = admitted.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert TOKEN not in cookie
    for path in ("/", "/api/v1/status", "/static/page.css", "/api/v1/tasks"):
        assert http.get(path).status_code == 200, path
    for wrong in ("streammeta=x", "streammeta=", 'streammeta="\\', f"other={cookie}"):
        with httpx.Client(base_url=daemon.server.address, trust_env=False) as stranger:
            assert stranger.get("/", headers={"cookie": wrong}).status_code == 401, wrong
