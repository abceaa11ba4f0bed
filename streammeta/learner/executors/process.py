"""One compilation, in a process of its own, ended with the one that began it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor
from torch.fx import GraphModule

import streammeta
from streammeta.learner.flat import in_words

_BUILD: Final = ".build-"


class TracedStep(NamedTuple):
    """What is to be compiled.

    Attributes:
        update: The traced update, see `chunk.Update`.
        inputs: Tensors of its shapes and dtypes, on the CPU.
        state_count: How many of them are the state's.
        predicts: Whether it gives predictions.
    """

    update: GraphModule
    inputs: Sequence[Tensor]
    state_count: int
    predicts: bool

    @property
    def shapes(self) -> str:
        """Of the iterations that it computes, in words."""
        return in_words(tuple((tuple(tensor.shape), tensor.dtype) for tensor in self.inputs[-4:]))


class Built(NamedTuple):
    """What came of a compilation: a library and what is known of it, or why there is none."""

    library: Path
    about: Mapping[str, Any]
    failure: str = ""


class CompileProcess:
    """A running compilation."""

    def __init__(
        self, directory: Path, step: TracedStep, forms: Sequence[str], *, beside: bool = True
    ) -> None:
        """Write the request below `directory` and begin. Takes about a second here, 15 to 80 s there.

        `beside`: nobody waits for it, so it has the lowest priority.

        Raises:
            OSError: the disk is full, or no process can be started.
        """
        self._work = Path(mkdtemp(prefix=f"{_BUILD}{os.getpid()}-", dir=directory))
        try:
            _write_request(self._work, step, forms)
            self._process = _start(self._work, beside=beside)
        except BaseException:
            shutil.rmtree(self._work, ignore_errors=True)
            raise

    def wait(self, seconds: float | None = None) -> Built | None:
        """What came of it; None while it goes on after so many seconds, without limit when None."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        try:
            about = json.loads((self._work / "result.json").read_bytes())
        except (OSError, ValueError):
            return Built(self._work, {}, _reason(self._work, code))
        return Built(self._work / "step.so", about)

    def end(self) -> None:
        """End the process with all that it started, and remove its files. May be called twice."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        shutil.rmtree(self._work, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The process's id, and that of its group."""
        return self._process.pid


def remove_abandoned(directory: Path) -> None:
    """Remove what compilations of processes that are no more left behind."""
    for work in directory.glob(f"{_BUILD}*-*"):
        begun_by = work.name.removeprefix(_BUILD).partition("-")[0]
        if begun_by.isdecimal() and not _lives(int(begun_by)):
            shutil.rmtree(work, ignore_errors=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _write_request(work: Path, step: TracedStep, forms: Sequence[str]) -> None:
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.export warns of its own deprecated names
        inputs = tuple(tensor.clone() for tensor in step.inputs)  # one tensor given twice would be one input
        exported = torch.export.export(step.update, inputs, strict=False)
        torch.export.save(exported, work / "update.pt2")
    request = {
        "state_count": step.state_count,
        "predicts": step.predicts,
        "forms": list(forms),
        "threads": torch.get_num_threads(),
    }
    (work / "request.json").write_text(json.dumps(request))


def _start(work: Path, *, beside: bool) -> subprocess.Popen[bytes]:
    package = str(Path(streammeta.__file__).parent.parent)
    path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH", ""))))
    environment = {
        **os.environ,
        "PYTHONPATH": path,
        "TMPDIR": str(work),
        "TORCHINDUCTOR_CACHE_DIR": str(work / "inductor"),
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
    }
    # -P: a file of the user's in the working directory must not hide a module. A session of its own: an
    # interrupt at the terminal is for the daemon.
    command = [sys.executable, "-P", "-m", "streammeta.learner.executors.build", str(work)]
    if beside:
        command.append("--beside")
    with (work / "said.txt").open("wb") as said:
        return subprocess.Popen(  # noqa: S603 (our own module in this Python)
            command,
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=said,
            env=environment,
            start_new_session=True,
        )


def _reason(work: Path, code: int) -> str:
    said = (work / "said.txt").read_text(errors="replace").split("\n") if work.exists() else []
    last = next((line.strip() for line in reversed(said) if line.strip()), "it said nothing")
    ended = f"signal {-code}" if code < 0 else f"exit {code}"
    return f"{ended}: {last[:300]}"
