"""`streammeta serve` as a process: it follows the commits that another process makes."""

import shutil
import signal
from pathlib import Path

import httpx
import numpy as np

from streammeta.api import Learner
from tests.end_to_end.program import free_port, running, wait_until
from tests.library.test_learner import sets


def test_it_follows_the_commits(tmp_path: Path) -> None:
    """The first answer after a commit is of it; the page follows; a copy put in place is read; exit 0."""
    state = tmp_path / "state"
    learner = Learner(args={"sizes": [2, 1]}, algorithm={"name": "moml", "order": "first"}, meta_lr=0.1)
    learner.learn("a", *sets(0))
    learner.save(state)
    port = free_port()
    with (
        running("serve", "--state", state, "--port", port) as program,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client,
    ):
        wait_until(lambda: ready(client), "ready")
        for number in range(2, 6):
            learner.learn("ab"[number % 2], *sets(number))
            learner.save(state)
            answered(client, learner)
        wait_until(lambda: client.get("/api/v1/status").json()["events"] == learner.events, "status")
        wait_until(lambda: client.get("/api/v1/tasks").json()["known"] == 2, "tasks")
        assert client.get("/api/v1/status").json()["losses"]["adapted"]["now"] > 0
        assert len(client.get("/api/v1/history").json()["events"]["columns"]["events"]) == learner.events
        shutil.copytree(state / "lmdb", state / "copy")
        shutil.rmtree(state / "lmdb")
        assert client.post("/api/v1/predict", json={"task": "a", "x": [[1, 2]]}).status_code == 503
        (state / "copy").rename(state / "lmdb")
        answered(client, learner)
        program.send_signal(signal.SIGTERM)
        assert program.wait(240) == 0


def ready(client: httpx.Client) -> bool:
    """Whether it serves."""
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def answered(client: httpx.Client, learner: Learner) -> None:
    """The answer is that of the learner, which has saved itself."""
    x = [[1.0, 2.0]]
    answer = client.post("/api/v1/predict", json={"task": "a", "x": x}).json()
    assert answer["events"] == learner.events
    assert answer["age_seconds"] < 60
    np.testing.assert_allclose(answer["y"], learner.predict("a", x), rtol=0, atol=1e-6)
