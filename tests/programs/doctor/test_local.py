"""The checks of this machine: state directory, disk, port and files, none of which they touch."""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client import generate_latest

from streammeta.config import Config
from streammeta.programs.doctor import local
from streammeta.programs.doctor.check import Check
from streammeta.programs.doctor.local import of_disk, of_files, of_port, of_state
from streammeta.runtime.blueprint import Blueprint, build_blueprint
from streammeta.state.directory import StateDirectory
from streammeta.web.server import HttpServer
from tests.programs.doctor.worlds import bytes_of, config_of, make_state


@pytest.fixture(scope="module")
def blueprint(tmp_path_factory: pytest.TempPathFactory) -> Blueprint:
    """Built once."""
    return build_blueprint(config_of(tmp_path_factory.mktemp("blueprint")))


def state_of(config: Config, blueprint: Blueprint) -> Check:
    """The one check of the state."""
    (check,) = of_state(config, blueprint)
    return check


def test_no_state_yet(blueprint: Blueprint, tmp_path: Path) -> None:
    """Said, and nothing is made."""
    check = state_of(config_of(tmp_path / "new"), blueprint)
    assert check.verdict == "ok"
    assert "holds no state yet" in check.words
    assert not [*tmp_path.iterdir()]


def test_a_state_that_fits(blueprint: Blueprint, tmp_path: Path) -> None:
    """Said with its events; its bytes stay."""
    config = config_of(tmp_path)
    before = bytes_of(make_state(config, blueprint))
    check = state_of(config, blueprint)
    assert check.verdict == "ok"
    assert "a state of 0 events, which fits the configuration" in check.words
    assert "writes to it" not in check.words
    assert bytes_of(config.state.dir) == before


def test_a_state_in_use(blueprint: Blueprint, tmp_path: Path) -> None:
    """A daemon at work is fine, and named; a name that a killed one left is not believed."""
    config = config_of(tmp_path)
    make_state(config, blueprint)
    with StateDirectory(config.state.dir):
        check = state_of(config, blueprint)
        assert check.verdict == "ok"
        assert f"process {os.getpid()} writes to it" in check.words
    (config.state.dir / "lock").write_text("12345\n")
    assert "writes to it" not in state_of(config, blueprint).words
    with StateDirectory(config.state.dir):  # what was asked for is given back
        pass


def test_a_state_of_other_settings(blueprint: Blueprint, tmp_path: Path) -> None:
    """Exit 65, with the difference."""
    config = config_of(tmp_path)
    make_state(config, blueprint)
    other = config_of(tmp_path, "algorithm.beta=0.7")
    check = state_of(other, build_blueprint(other))
    assert (check.verdict, check.exit_code) == ("fault", 65)
    assert "algorithm.beta: the state was made with 0.3" in check.words


def test_a_directory_that_cannot_be_written_to(
    blueprint: Blueprint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in its place, or no right to write, is a fault before any daemon starts."""
    (tmp_path / "state").write_text("")
    assert "is a file" in state_of(config_of(tmp_path), blueprint).words
    monkeypatch.setattr(os, "access", lambda *_: False)
    check = state_of(config_of(tmp_path / "elsewhere"), blueprint)
    assert (check.verdict, check.exit_code) == ("fault", 65)
    assert f"may not write to {tmp_path}" in check.words


def test_a_state_whose_store_is_gone(blueprint: Blueprint, tmp_path: Path) -> None:
    """The remains that the daemon refuses are refused here."""
    config = config_of(tmp_path)
    config.state.dir.mkdir()
    (config.state.dir / "order.log").write_bytes(b"")
    assert "gone or empty" in state_of(config, blueprint).words


@pytest.mark.parametrize(("free", "verdict"), [(1 << 20, "fault"), (1 << 28, "warning"), (1 << 40, "ok")])
def test_the_disk(free: int, verdict: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full, nearly full, or not."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert of_disk(config_of(tmp_path)).verdict == verdict


@pytest.fixture
def taken() -> Iterator[int]:
    """A port at which somebody listens, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_a_port_that_is_taken(taken: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault, told in time also where whoever has it says nothing; also while a daemon writes the state."""
    monkeypatch.setattr(local, "_ASK_SECONDS", 0.1)
    config = config_of(tmp_path, f"http.port={taken}")
    for writer in (None, "7"):
        check = of_port(config, writer)
        assert (check.verdict, check.exit_code) == ("fault", 78)
        assert f"http.port = {taken} is taken" in check.words


def test_a_port_that_our_daemon_has(tmp_path: Path) -> None:
    """Fine while a daemon writes to the state; another one's is a fault."""
    from streammeta.observe.metrics import Metrics, Registry

    registry = Registry()
    Metrics(registry, topic="t", algorithm="moml", version="1", torch_version="2")

    async def app(_scope: object, _receive: object, send: object) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": []}
        await send(start)  # type: ignore[operator]  # as ASGI defines it
        await send({"type": "http.response.body", "body": generate_latest(registry)})  # type: ignore[operator]  # as above

    server = HttpServer(app, "127.0.0.1", 0)
    server.start()
    try:
        port = int(server.address.rpartition(":")[2])
        config = config_of(tmp_path, f"http.port={port}")
        assert of_port(config, "7").verdict == "ok"
        assert of_port(config, None).verdict == "fault"
    finally:
        server.stop()


def test_a_port_that_is_free(tmp_path: Path) -> None:
    """It is still free afterwards; open to others without a token is a warning."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]
    assert of_port(config_of(tmp_path, f"http.port={port}"), None).verdict == "ok"
    socket.create_server(("127.0.0.1", port)).close()
    open_to_all = config_of(tmp_path, f"http.port={port}", "http.host=0.0.0.0")
    assert of_port(open_to_all, None).verdict == "warning"


def test_files(tmp_path: Path) -> None:
    """None is named: nothing is told; a token that is not there is a fault."""
    assert of_files(config_of(tmp_path)) is None
    check = of_files(config_of(tmp_path, "http.token_file=/no/such"))
    assert check is not None
    assert (check.verdict, check.exit_code) == ("fault", 78)
