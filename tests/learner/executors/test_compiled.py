"""Compilation beside the learning: what serves when, what is kept, what is said when it fails."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest
import torch
from structlog.testing import capture_logs

from streammeta.clock import Clock
from streammeta.errors import ConfigError
from streammeta.learner.executors import process
from streammeta.learner.executors.cache import Cache
from streammeta.learner.executors.compiled import MOST_SECONDS_BESIDE, CompiledSteps
from streammeta.learner.executors.identity import compiler_version, form_named, key_of, name_of
from streammeta.learner.executors.process import CompileProcess, TracedStep
from tests.learner.executors.conftest import Shared
from tests.learner.executors.steps import chunk_of, run_all, traced


def until(condition: Callable[[], bool], seconds: float = 240) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.02)


@contextmanager
def running(directory: Path, step: TracedStep) -> Iterator[CompileProcess]:
    """A compilation that has begun."""
    process = CompileProcess(directory, step, ("small",))
    try:
        yield process
    finally:
        process.end()


def key(step: TracedStep) -> str:
    """The step's key."""
    return key_of(step.update, step.inputs, step.state_count)


def test_what_is_in_the_cache_is_found_at_once(shared: Shared) -> None:
    """A later process takes the library, compiles nothing, and needs no compiler."""
    with closing(CompiledSteps(Cache(shared.directory), compiler="")) as steps:
        found = steps.find(shared.step)
        assert found is not None
        assert found.name == shared.compiled.name
        assert steps.shapes == (1, 0, 0)
        assert steps.named(shared.step, shared.compiled.name) is not None


def test_the_key_is_what_the_bits_depend_on() -> None:
    """Another learner, batch or constant is another key; the same step traced again is the same."""
    keys = [key(traced()), key(traced("moml-clipped")), key(traced(batch=2)), key(traced(predicts=True))]
    assert len({*keys}) == len(keys)
    assert key(traced()) == keys[0]


def test_a_name_says_which_form(shared: Shared) -> None:
    """It is found again from key and compiler, and belongs to no others."""
    compiler = str(compiler_version())
    assert form_named(shared.compiled.name, key(shared.step), compiler) == "small"
    assert form_named(shared.compiled.name, key(shared.step), "g++ 1") is None
    assert form_named(shared.compiled.name, key(traced()), compiler) is None
    assert name_of("a", "small", compiler) != name_of("a", "library", compiler)


def test_a_step_of_another_model_is_not_taken(shared: Shared) -> None:
    """A name that the state holds is refused where it belongs to another graph, or to another machine."""
    with closing(CompiledSteps(Cache(shared.directory))) as steps:
        assert steps.named(traced("moml-clipped"), shared.compiled.name) is None
        assert steps.named(shared.step, "0" * 32) is None


@pytest.mark.slow
def test_a_lost_library_is_compiled_again_to_the_same_bits(shared: Shared, tmp_path: Path) -> None:
    """Under the same name, and to the last bit, so that a recovered run ends as an undisturbed one."""
    with closing(CompiledSteps(Cache(tmp_path / "other"))) as steps:
        again = steps.named(shared.step, shared.compiled.name)
    assert again is not None
    assert again.name == shared.compiled.name
    first, second = (chunk_of(shared.step, events=200) for _ in range(2))
    run_all(shared.step, first, shared.compiled.run)
    run_all(shared.step, second, again.run)
    assert all(torch.equal(a.nan_to_num(7.0), b.nan_to_num(7.0)) for a, b in zip(first, second, strict=True))
    assert first[0].sub(shared.step.inputs[0]).norm() > 0.01
    assert sorted(path.suffix for path in (tmp_path / "other").iterdir()) == [".json", ".so"]


def test_without_a_compiler_the_traced_step_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said once, whatever the number of shapes; where compiled steps are required it is refused."""
    monkeypatch.setenv("PATH", "")
    with closing(CompiledSteps(Cache(tmp_path / "cache"))) as steps, capture_logs() as logs:
        assert steps.find(traced()) is None
        assert steps.find(traced("maml")) is None
        assert steps.ready() == []
        with pytest.raises(ConfigError, match="no C\\+\\+ compiler"):
            steps.require(traced())
    assert [entry["event"] for entry in logs] == ["steps are not compiled"]


def hang(work: Path, *, beside: bool) -> "subprocess.Popen[bytes]":
    """A compiler that waits for its own child, and neither ever ends."""
    assert beside
    script = "sleep 1000 & echo $! > child; wait"
    return subprocess.Popen(
        ["/bin/sh", "-c", script], stdin=subprocess.PIPE, cwd=work, start_new_session=True
    )


def test_a_compilation_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all that it started, said once; the traced step serves on, and the next shape has its turn."""
    monkeypatch.setattr(process, "_start", hang)
    monkeypatch.setattr(process, "_write_request", lambda *_: None)
    now, cache = [0.0], Cache(tmp_path / "cache")
    clock = Clock(monotonic=lambda: now[0])
    with closing(CompiledSteps(cache, compiler="g++", clock=clock)) as steps, capture_logs() as logs:
        first, second = traced(), traced("maml")
        assert steps.find(first) is None
        assert steps.find(second) is None
        (work,) = cache.directory.glob(".build-*")
        until(lambda: (work / "child").exists() and (work / "child").read_text().endswith("\n"))
        child = psutil.Process(int((work / "child").read_text()))
        now[0] = MOST_SECONDS_BESIDE - 1.0
        assert steps.ready() == []
        assert steps.shapes == (0, 2, 0)
        now[0] = MOST_SECONDS_BESIDE + 1.0
        assert steps.ready() == []
        assert steps.shapes == (0, 1, 1)
        until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
        assert not work.exists()
        assert steps.find(first) is None
        assert steps.shapes == (0, 1, 1)
    assert [entry["event"] for entry in logs] == ["step not compiled"]
    assert "3600 s" in logs[0]["reason"]


def test_a_killed_compilation_is_said_once(shared: Shared, tmp_path: Path) -> None:
    """The traced step serves on, the shape is not tried again, and nothing is left behind."""
    step = traced("maml")
    with closing(CompiledSteps(Cache(tmp_path / "cache"))) as steps, capture_logs() as logs:
        assert steps.find(step) is None
        assert steps.shapes == (0, 1, 0)
        work = next((tmp_path / "cache").glob(".build-*"))
        child = next(p for p in psutil.Process().children() if str(work) in p.cmdline())
        child.kill()
        until(lambda: steps.ready() == [] and steps.shapes == (0, 0, 1))
        assert steps.find(step) is None
        assert steps.shapes == (0, 0, 1)
        assert [*(tmp_path / "cache").iterdir()] == []
    assert [entry["reason"][:9] for entry in logs] == ["signal 9:"]
    assert shared.compiled.name


def test_a_damaged_library_is_not_loaded(shared: Shared, tmp_path: Path) -> None:
    """It counts as absent, and a compilation begins."""
    cache = Cache(tmp_path / "cache")
    for path in (shared.compiled.library.path, shared.compiled.library.path.with_suffix(".json")):
        (cache.directory / path.name).write_bytes(path.read_bytes())
    copied = cache.directory / shared.compiled.library.path.name
    copied.chmod(0o600)
    assert CompiledSteps(cache).find(shared.step) is not None
    copied.write_bytes(copied.read_bytes()[:-1])
    with closing(CompiledSteps(cache)) as steps:
        assert steps.find(shared.step) is None
        assert steps.shapes.compiling == 1


def test_the_compilation_ends_with_whoever_began_it(tmp_path: Path) -> None:
    """Killed with SIGKILL, which nobody can handle, it leaves no process; its files go at the next start."""
    code = f"""
import sys
from pathlib import Path
from streammeta.learner.executors.process import CompileProcess
from tests.learner.executors.steps import chunk_of, run_all, traced
process = CompileProcess(Path({str(tmp_path)!r}), traced(), ("small",))
print(process.pid, flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.nice() >= 0
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    assert [*tmp_path.glob(".build-*")]
    CompiledSteps(Cache(_mine(tmp_path)))
    assert not [*tmp_path.glob(".build-*")]


def test_the_request_is_for_this_user_alone(tmp_path: Path) -> None:
    """Nobody else may write what becomes code."""
    with running(tmp_path, traced()) as process:
        work = next(tmp_path.glob(".build-*"))
        assert work.stat().st_mode & 0o777 == 0o700
        assert os.getpgid(process.pid) == process.pid
    assert not work.exists()


def _mine(directory: Path) -> Path:
    directory.chmod(0o700)
    return directory
