"""SIGHUP takes a file over only when the next start would accept all of it."""

import json
import socket
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog

from streammeta.config import Config, load_config
from streammeta.observe.logs import configure_logging
from streammeta.programs.reloading import reloaded
from streammeta.runtime.blueprint import build_blueprint, restore
from streammeta.runtime.controls import Rates
from streammeta.state.checkpoint import pack
from streammeta.state.directory import StateDirectory
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.memory_store import MemoryStore

Told = Callable[[], list[dict[str, Any]]]


def config_of(tmp_path: Path, *settings: str) -> Config:
    """A small configuration with its state in `tmp_path`."""
    base = ["model.args.sizes=[1, 2, 1]", f"state.dir={tmp_path / 'state'}", "log.format=json", "http.port=0"]
    return load_config(None, [*base, *settings], {})


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """The configuration at the start of the process, its state begun; its logging is in force."""
    made = config_of(tmp_path)
    configure_logging(made.log.level, made.log.format)
    begin(made)
    return made


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    """The log lines since the last look."""
    return lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def begin(config: Config) -> None:
    """A first checkpoint in the directory that the configuration names."""
    blueprint = build_blueprint(config)
    with StateDirectory(config.state.dir) as directory, closing(LmdbStore(directory.lmdb_path)) as store:
        store.commit(pack(restore(blueprint, MemoryStore())), {})


def test_rates_and_log_level_are_taken(config: Config, tmp_path: Path, told: Told) -> None:
    """They are returned and told, and debug lines are heard from then on; no warning."""
    new = config_of(tmp_path, "algorithm.inner_lr=0.5", "outer.lr=0.25", "log.level=debug")
    structlog.get_logger().debug("before")
    assert reloaded(config, lambda: new) == Rates(0.5, 0.25)
    structlog.get_logger().debug("after")
    lines = told()
    assert [line["event"] for line in lines] == ["configuration reloaded", "after"]
    assert (lines[0]["inner_lr"], lines[0]["meta_lr"], lines[0]["log_level"]) == (0.5, 0.25, "debug")


def test_other_changes_wait_and_are_named(config: Config, tmp_path: Path, told: Told) -> None:
    """The rates are taken all the same."""
    settings = [
        "state.cache_tasks=7",
        "log.format=console",
        "kafka.client.client_id=x",
        "http.host=localhost",
    ]
    new = config_of(tmp_path, *settings, "outer.lr=0.25")
    assert reloaded(config, lambda: new) == Rates(0.01, 0.25)
    (line,) = [line for line in told() if line["level"] == "warning"]
    assert line["event"] == "changed settings wait for the next start"
    assert line["settings"] == "kafka.client, state.cache_tasks, http.host, log.format"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (["algorithm.inner_lr=fast"], "algorithm.inner_lr"),
        (["algorithm.beta=0.9"], r"algorithm.beta: the state was made with 0.3"),
        (["model.args.sizes=[2, 1]"], "model.args.sizes: the state was made with [1, 2, 1]"),
        (["kafka.topic=other"], "kafka.topic: the state was made with"),
        (["outer.momentum=0.1", "http.host=192.0.2.1"], "http.host = '192.0.2.1' is not an address"),
        (["http.port=TAKEN"], "is taken on 127.0.0.1"),
        (["http.token_file=HERE/absent"], "http.token_file"),
        (["http.token_file=HERE/empty"], "is empty; write a token into it"),
        (["kafka.client.ssl_cafile=HERE/absent"], "kafka.client.ssl_cafile"),
        (["model.device=cuda:7"], 'model.device = "cuda:7" cannot be used here'),
        (["state.dir=HERE/empty"], "is a file; name a directory"),
        (["state.dir=HERE/other"], "algorithm.beta: the state was made with 0.7"),
        (["state.dir=HERE/new", "model.args.sizes=[1, 1]"], "model: another one is tried at a start alone"),
        (["state.dir=HERE/new", "model.init=HERE/absent"], "model.init"),
        (["engine.compile=require", "engine.cache_dir=HERE/empty/x"], "engine.cache_dir"),
    ],
    ids=lambda given: given[-1].replace("/", ":") if isinstance(given, list) else "",
)
def test_what_the_next_start_would_refuse_is_refused_whole(
    settings: list[str], reason: str, config: Config, tmp_path: Path, told: Told
) -> None:
    """Rates and log level stay as they were, and the reason is told."""
    (tmp_path / "empty").touch()
    if "state.dir=HERE/other" in settings:
        begin(config_of(tmp_path, "algorithm.beta=0.7", f"state.dir={tmp_path / 'other'}"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        filled = [text.replace("HERE", str(tmp_path)).replace("TAKEN", port) for text in settings]
        rates = reloaded(config, lambda: config_of(tmp_path, "outer.lr=0.25", "log.level=debug", *filled))
    structlog.get_logger().debug("still not heard")
    assert rates is None
    (line,) = told()
    assert (line["level"], line["event"]) == (
        "warning",
        "configuration not reloaded: the next start would refuse it",
    )
    assert reason in line["reason"]


def test_a_new_state_directory_may_wait(config: Config, tmp_path: Path, told: Told) -> None:
    """It, and settings that a new state may have, are for the next start."""
    new = config_of(tmp_path, "outer.lr=0.25", f"state.dir={tmp_path / 'new'}", "algorithm.beta=0.9")
    assert reloaded(config, lambda: new) == Rates(0.01, 0.25)
    assert "state.dir" in told()[-1]["settings"]
    assert not (tmp_path / "new").exists()


def test_the_same_directory_by_another_name_is_the_same(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Told
) -> None:
    """A state that this process holds is not opened a second time."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "state")
    with StateDirectory(config.state.dir):
        for name in ("state", "link"):
            fitting = config_of(tmp_path, f"state.dir={name}", "outer.lr=0.25")
            other = config_of(tmp_path, f"state.dir={name}", "algorithm.beta=0.9")
            assert reloaded(config, partial(_same, fitting)) == Rates(0.01, 0.25)
            assert reloaded(config, partial(_same, other)) is None
    assert "algorithm.beta" in told()[-1]["reason"]


def _same(config: Config) -> Config:
    return config
