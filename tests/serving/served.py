"""`streammeta serve` within this process: asked as soon as it listens, then told to stop."""

import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from streammeta.cli import main
from streammeta.programs.serving import serve

Client = httpx.Client


def served(directory: Path, ask: Callable[[Client], Any]) -> Any:
    """What `ask` found while the state was served; the command ended with exit 0."""
    found = []

    def look(address: str) -> None:
        with httpx.Client(base_url=address, trust_env=False, timeout=60) as client:
            found.append(ask(client))
        signal.raise_signal(signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("streammeta.cli.serve.serve_state", partial(serve, on_serving=look))
        done = CliRunner().invoke(main, ["serve", "--state", str(directory), "--port", "0"])
    assert done.exit_code == 0, done.output
    return found[0]


def answer(client: Client, **asked: Any) -> dict[str, Any]:
    """To one prediction."""
    response = client.post("/api/v1/predict", json=asked)
    assert response.status_code == 200, response.text
    told: dict[str, Any] = response.json()
    return told
