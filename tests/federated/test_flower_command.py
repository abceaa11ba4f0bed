"""The app of the page under Flower's own commands: a SuperLink, a SuperNode, and `flwr run` to its end."""

import re
import socket
import textwrap
from pathlib import Path

import pytest
import safetensors.numpy

import streammeta
from tests.end_to_end.program import free_port, wait_until
from tests.federated.flower import machine

pytest.importorskip("flwr", reason="flwr is not installed: pip install 'streammeta[federated]'")

from streammeta.federated.memory import file_of
from tests.federated.runs import state_in

PAGE = Path(streammeta.__file__).parent / "federated" / "README.md"
PATIENCE_SECONDS = 400


def part(title: str) -> str:
    """A file of the app, as the page has it."""
    found = re.search(
        rf"^    # {re.escape(title)}.*?\n(.*?)^    # ", PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    assert found is not None, title
    return textwrap.dedent(found[1])


def put(text: str, *changes: tuple[str, str]) -> str:
    """The text with what it has replaced by other words, one place each."""
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def sets(support: int, query: int) -> str:
    """Python that makes an episode."""
    sizes = (support, support, query, query)
    return f"return episode_of(*(np.full((n, 1), 0.1 * n, np.float32) for n in {sizes}))"


def write_app(app: Path) -> None:
    """The files of the page: what it leaves open filled in, paths absolute, one round of one client."""
    code = put(
        part("my_federation.py"),
        ("from dataclasses", "import numpy as np\nfrom dataclasses"),
        ('"federation.toml"', f'"{app}/federation.toml"'),
        ("/var/lib/my-federation", f"{app}/memories"),
        ("rounds=500, nodes=8", "rounds=1, nodes=1"),
        ("...  ", f"{sets(20, 10)}  "),
        ("        ...\n", f"        {sets(10, 20)}\n"),
    )
    settings = put(
        part("federation.toml"),
        ('"my_models:net"', '"streammeta.models:mlp"\nargs = { sizes = [1, 4, 1] }'),
        ('"cross_entropy"', '"mse"'),
        ('dir = "state"', f'dir = "{app}/state"\n[http]\nport = 0\n[engine]\ncompile = "off"'),
    )
    app.mkdir()
    for name, text in (
        ("pyproject.toml", part("pyproject.toml of the app")),
        ("my_federation.py", code),
        ("federation.toml", settings),
    ):
        (app / name).write_text(text)


@pytest.mark.slow
def test_flwr_run_ends(tmp_path: Path) -> None:
    """Exit 0 with a round in the server's state, and the client's memory on the client's own disk."""
    app, port = tmp_path / "app", free_port()
    write_app(app)
    with machine(app, tmp_path / "home") as flower:
        where = f'[superlink.here]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
        (flower.home / "config.toml").write_text(where)
        flower.start(
            "flower-superlink", "--insecure", "--disable-runtime-dependency-installation", "--port", port
        )
        wait_until(lambda: listens(port), flower.said)
        at = ("--superlink", f"127.0.0.1:{port}", "--port", free_port())
        flower.start("flower-supernode", "--insecure", *at, "--node-config", 'name="north"')
        assert flower.start("flwr", "run", app, "here", "--stream").wait(PATIENCE_SECONDS) == 0, flower.said()
        said = flower.said()
    assert state_in(app / "state").positions == {0: 1}, said
    assert state_in(app / "state").progress.events == 1, said
    (memory,) = safetensors.numpy.load_file(file_of(app / "memories", "north")).values()
    assert memory.shape == state_in(app / "state").state.params.shape
    assert memory.any()


def listens(port: int) -> bool:
    """Whether somebody does."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
