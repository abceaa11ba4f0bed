"""A task's page asks for predictions: as curves where the model makes one number of one, else as JSON."""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import numpy as np
import pytest

pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import Browser

from streammeta.models.loading import load_network
from streammeta.runtime.predicting import predictor_for
from streammeta.serving.commits import Commits
from streammeta.serving.desk import Desk
from streammeta.state.directory import StateDirectory
from streammeta.state.lmdb_store import LmdbStore
from streammeta.web.app import make_app
from streammeta.web.server import HttpServer
from tests.observe.outcomes import learned
from tests.serving.states import Asked, asked
from tests.web.browser import Watched, opened
from tests.web.shown import Daemon

TASK, WHOLE = "task-1", "task-0"
"""Of examples, four of which wait; of whole episodes."""
PATH = "/api/v1/predict"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    """A state of three tasks."""
    return asked(tmp_path_factory.mktemp("asked"), 3)


@pytest.fixture(scope="module")
def address(state: Asked) -> Iterator[str]:
    """Of a port that knows the tasks and answers from the state."""
    daemon, config = Daemon(now=time.time), state.config
    for task in state.names:
        daemon.tell(learned(task=task))
    daemon.tasks.settle()
    model = config.model
    network = load_network(
        model.factory, model.args, loss=model.loss, seed=0, dtype=model.dtype, device="cpu"
    )
    with closing(LmdbStore(StateDirectory(state.path).lmdb_path, readonly=True)) as store:
        desk = Desk([Commits(store)], predictor_for(config, network), time.time, 100_000)
        server = HttpServer(make_app(daemon.shown, token=None, local=True, desk=desk), "127.0.0.1", 0)
        server.start()
        yield server.address
        daemon.status.stop()
        server.stop()


def numbers(watched: Watched) -> tuple[list[str], np.ndarray]:
    """Head and rows of the curves, as their CSV tells."""
    with watched.page.expect_download() as download:
        watched.page.locator("[data-chart=prediction] .files button").last.dispatch_event("click")
    head, *lines = Path(download.value.path()).read_text().splitlines()
    return head.replace('"', "").split(","), np.array(
        [[float(cell or "nan") for cell in line.split(",")] for line in lines]
    )


def test_what_can_be_asked(state: Asked, address: str) -> None:
    """By the state: a task's kinds of parameters, its waiting examples; in words where there is no task."""
    with httpx.Client(base_url=address, trust_env=False, timeout=120) as http:
        told = http.get(PATH, params={"task": TASK}).json()
        assert (told["at"], told["curve"]) == (["meta", "memory", "adapted"], True)
        np.testing.assert_array_equal(np.array(told["examples"]["x"], np.float32), state.held[TASK].x)
        whole = http.get(PATH, params={"task": WHOLE}).json()
        assert (whole["at"], whole["examples"]) == (["meta", "memory"], None)
        assert http.get(PATH, params={"task": "new"}).json()["at"] == ["meta"]
        refused = http.get(PATH)
        assert (refused.status_code, refused.json()["reason"]) == (422, "bad_task_id")


def test_curves_and_points(state: Asked, address: str, browser: Browser) -> None:
    """Three curves and the waiting examples; each value is what the port answers for its x."""
    with opened(browser, f"{address}/#/tasks/{TASK}") as watched:
        watched.shows("[data-chart=prediction] .readings", "points")
        head, rows = numbers(watched)
        assert head == [
            "x",
            "at the meta-parameters",
            "at the task's memory",
            "adapted to the points",
            "points",
        ]
        held = rows[~np.isnan(rows[:, 4])]
        order = np.argsort(state.held[TASK].x[:, 0])
        np.testing.assert_allclose(held[:, 0], state.held[TASK].x[order, 0], rtol=1e-6)
        np.testing.assert_allclose(held[:, 4], state.held[TASK].y[order, 0], rtol=1e-6)
        for column, at in enumerate(("meta", "memory", "adapted"), 1):
            asked = {"task": TASK, "x": rows[:, :1].tolist(), "at": at}
            answer = httpx.post(address + PATH, json=asked, trust_env=False).json()
            np.testing.assert_allclose(rows[:, column], np.array(answer["y"])[:, 0], rtol=1e-6)


def test_a_person_types_points(address: str, browser: Browser) -> None:
    """By keyboard: the range, points, and what is wrong with them, in words; also by a click."""
    with opened(browser, f"{address}/#/tasks/{WHOLE}") as watched:
        watched.shows("[data-chart=prediction] .readings", "at the task's memory")
        assert numbers(watched)[0] == ["x", "at the meta-parameters", "at the task's memory"]
        page = watched.page
        page.get_by_label("From x").fill("-1")
        page.get_by_label("Points to adapt to").fill("0.5, 1\n1 2 3")
        page.get_by_role("button", name="Ask").press("Enter")
        watched.shows(".said", "“1 2 3” is not x, y")
        page.get_by_label("Points to adapt to").fill("0.5, 1\n-0.25, 2")
        page.get_by_role("button", name="Ask").press("Enter")
        watched.shows("[data-chart=prediction] .readings", "adapted to the points")
        page.wait_for_function("() => document.querySelector('.said').textContent === ''")
        head, rows = numbers(watched)
        assert (head[-2:], rows[0, 0]) == (["adapted to the points", "points"], -1)
        assert rows[~np.isnan(rows[:, 4])][:, [0, 4]].tolist() == [[-0.25, 2], [0.5, 1]]
        page.locator("[data-chart=prediction] .u-over").click(position={"x": 40, "y": 40})
        page.wait_for_function(
            "() => document.querySelector('.fields textarea').value.split('\\n').length === 3"
        )
        page.get_by_role("button", name="Clear points").click()
        page.wait_for_function(
            "() => !document.querySelector('#task .asking .readings').textContent.includes('points')"
        )


def test_json_where_there_are_no_curves(address: str, browser: Browser) -> None:
    """A form: the answer, and refusals of the page and of the port in words."""
    expected = ("status of 422",)
    with opened(browser, address, expected=expected) as watched:
        told = {"task": WHOLE, "at": ["meta"], "curve": False, "examples": None}
        watched.page.route("**/api/v1/predict?*", lambda route: route.fulfill(json=told))
        watched.page.goto(f"{address}/#/tasks/{WHOLE}")
        x = watched.page.get_by_label("x: a list of inputs")
        x.fill("[[0.5")
        watched.page.get_by_role("button", name="Ask").click()
        watched.shows(".said", "x is no JSON")
        x.fill("[[0.5, 1]]")
        watched.page.get_by_role("button", name="Ask").click()
        watched.shows(".said", "x: ")
        x.fill("[[0.5], [0.25]]")
        watched.page.get_by_role("combobox").select_option("memory")
        watched.page.get_by_role("button", name="Ask").click()
        watched.shows(".said", "Answered at memory")
        assert len(json.loads(watched.page.inner_text(".answer"))) == 2
