"""A trace on disk is read only where it is sound, and this learner's."""

import os
from pathlib import Path

import pytest
import torch

from streammeta.learner.executors import traces as module
from streammeta.learner.executors.cache import Cache
from streammeta.learner.executors.process import TracedStep
from streammeta.learner.executors.traces import Traces
from streammeta.learner.flat import Signature
from tests.learner.executors.steps import traced


@pytest.fixture(scope="module")
def step() -> TracedStep:
    """A traced step of MOML."""
    return traced()


def signature(step: TracedStep) -> Signature:
    """Of its episodes."""
    return tuple((tuple(tensor.shape), tensor.dtype) for tensor in step.inputs[-4:])


def kept(folder: Path, step: TracedStep) -> Path:
    """The file of the step, kept below the folder."""
    Traces(Cache(folder), "moml").put(signature(step), step.update)
    (path,) = folder.iterdir()
    return path


def test_a_later_process_finds_the_same_step(tmp_path: Path, step: TracedStep) -> None:
    """The graph is equal, and its file is for this user alone."""
    path = kept(tmp_path / "c", step)
    found = Traces(Cache(tmp_path / "c"), "moml").get(signature(step))
    assert found is not None
    assert found.code == step.update.code
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("what", ["learner", "shapes", "threads", "code", "torch"])
def test_what_the_trace_follows_from_names_it(
    what: str, tmp_path: Path, step: TracedStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another of each has a trace of its own."""
    kept(tmp_path / "c", step)
    of = signature(step)
    if what == "shapes":
        of = (((1, 9, 2), of[0][1]), *of[1:])
    if what == "threads":
        monkeypatch.setattr(torch, "get_num_threads", lambda: 63)
    if what == "code":
        monkeypatch.setattr(module, "_SOURCES", ("algorithms",))
    if what == "torch":
        monkeypatch.setattr(torch, "__version__", "2.99")
    assert Traces(Cache(tmp_path / "c"), "maml" if what == "learner" else "moml").get(of) is None


def test_damage_anywhere_is_found(tmp_path: Path, step: TracedStep) -> None:
    """A flipped bit, or a file cut short: it is traced anew, and kept in place of the damaged one."""
    path = kept(tmp_path / "c", step)
    traces, whole = Traces(Cache(tmp_path / "c"), "moml"), path.read_bytes()
    for at in (0, 31, 32, 40, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        assert traces.get(signature(step)) is None
        path.write_bytes(whole[:at])
        assert traces.get(signature(step)) is None
    traces.put(signature(step), step.update)
    assert traces.get(signature(step)) is not None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_what_is_another_users_is_not_read(tmp_path: Path, step: TracedStep) -> None:
    """Nor what others may write to."""
    path = kept(tmp_path / "c", step)
    traces = Traces(Cache(tmp_path / "c"), "moml")
    path.chmod(0o622)
    assert traces.get(signature(step)) is None
    path.chmod(0o600)
    os.chown(path, 12345, 12345)
    assert traces.get(signature(step)) is None


def test_a_directory_that_is_gone_stops_nobody(tmp_path: Path, step: TracedStep) -> None:
    """Nothing is kept, nothing is found."""
    traces = Traces(Cache(tmp_path / "c"), "moml")
    (tmp_path / "c").rmdir()
    traces.put(signature(step), step.update)
    assert traces.get(signature(step)) is None


def test_the_oldest_go(tmp_path: Path, step: TracedStep, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one used longest ago makes room."""
    monkeypatch.setattr(module, "MAX_TRACES", 2)
    cache, of = Cache(tmp_path / "c"), signature(step)
    for age, name in enumerate(("a", "b", "c")):
        Traces(cache, name).put(of, step.update)
        for path in cache.directory.iterdir():
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 100 * (age < 2)))
    assert [Traces(cache, name).get(of) is not None for name in ("a", "b", "c")] == [False, True, True]
