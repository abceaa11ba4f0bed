"""Compiled steps: from the cache where it has them, else compiled beside the learning, one after the other.

While a step is compiled the traced one serves. What fails is said once, and the traced step serves on.
Not shared between threads: whoever learns also asks.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, NamedTuple

import structlog
import torch
from torch import Tensor

from streammeta.clock import Clock
from streammeta.errors import ConfigError
from streammeta.events import Conditions
from streammeta.learner.executors.cache import Cache, Library
from streammeta.learner.executors.forms import forms_of
from streammeta.learner.executors.identity import (
    compiler_version,
    conditions_here,
    form_named,
    key_of,
    name_of,
)
from streammeta.learner.executors.process import Built, CompileProcess, TracedStep, remove_abandoned

log = structlog.get_logger(__name__)

NO_COMPILER = (
    "no C++ compiler (g++ or clang++) is on the PATH; install one, copy the cache of a machine of the same "
    'processor that ran `streammeta compile`, or set engine.compile = "off"'
)


MOST_SECONDS: Final = 900
"""What the learning waits for a compilation at most."""
MOST_SECONDS_BESIDE: Final = 3600
"""What a compilation takes at most while the traced step serves: nobody waits, and a busy machine may take
ten times the 80 s of a quiet one. Beyond, the compiler hangs, and holds up the shapes behind it."""


class Compiled(NamedTuple):
    """A compiled `chunk_step`.

    Attributes:
        name: What names it in state, order log and recordings.
        run: Learns from one iteration of a chunk, in place; takes the tensors of `chunk_step` in a list.
        library: Where it came from.
    """

    name: str
    run: Callable[[list[Tensor]], object]
    library: Library


class Shapes(NamedTuple):
    """How many steps are compiled and in use, being compiled or waiting for it, given up."""

    compiled: int
    compiling: int
    failed: int


class _Job(NamedTuple):
    key: str
    step: TracedStep
    forms: tuple[str, ...]


class _Running(NamedTuple):
    job: _Job
    process: CompileProcess
    began_seconds: float


class CompiledSteps:
    """The compiled steps of one learner."""

    def __init__(self, cache: Cache, *, compiler: str | None = None, clock: Clock | None = None) -> None:
        """`compiler`: its version; when None, that of the one on the PATH."""
        self._clock = clock or Clock()
        self._cache = cache
        self._compiler = compiler_version() if compiler is None else compiler
        self._loaded: dict[str, Compiled] = {}
        self._waiting: deque[_Job] = deque()
        self._running: _Running | None = None
        self._failed: dict[str, str] = {}
        self._told_compiler = False
        self.seconds = 0.0
        """Spent compiling so far."""
        self.waiting: Callable[[str], None] = _untold
        """Told each second, in words, while `require` or `named` waits; what it raises ends the wait."""
        remove_abandoned(cache.directory)

    def find(self, step: TracedStep) -> Compiled | None:
        """The compiled step, where it is at hand; else its compilation begins, or waits for its turn."""
        key = key_of(step.update, step.inputs, step.state_count)
        compiled = self._at_hand(key)
        if compiled is None and self._may_compile(key):
            self._waiting.append(_Job(key, step, forms_of(step.update.graph)))
            self.ready()
        return compiled

    def require(self, step: TracedStep) -> Compiled:
        """The compiled step, compiled now where it is not at hand: 15 to 80 s, at most `MOST_SECONDS`.

        Raises:
            ConfigError: there is no compiler, or it fails.
        """
        key = key_of(step.update, step.inputs, step.state_count)
        return self._at_hand(key) or self._build(_Job(key, step, forms_of(step.update.graph)))

    def named(self, step: TracedStep, name: str) -> Compiled | None:
        """The very step that applied earlier events, compiled again where the cache lost it.

        None where it cannot be had: another model, processor, torch or compiler than it was made with.

        Raises:
            ConfigError: it would have to be compiled again, and the compiler fails.
        """
        key = key_of(step.update, step.inputs, step.state_count)
        library = self._cache.get(name)
        if library is not None:
            return self._load(library) if library.key == key else None
        form = form_named(name, key, self._compiler) if self._compiler else None
        return self._build(_Job(key, step, (form,))) if form else None

    def conditions(self, name: str) -> Conditions | None:
        """What the step of this name was compiled for, and what with; None where the cache has none."""
        library = self._cache.get(name)
        return library.conditions if library is not None else None

    def ready(self) -> list[Compiled]:
        """What was compiled since the last call; begins the next compilation. Cheap when nothing happened."""
        if self._running is not None:
            job, process, began_seconds = self._running
            built = process.wait(0)
            if built is None and self._clock.monotonic() - began_seconds > MOST_SECONDS_BESIDE:
                built = Built(Path(), {}, _hangs(MOST_SECONDS_BESIDE))
            if built is None:
                return []
            self._running = None
            compiled = self._end(job, process, built)
            self._begin()
            return [compiled] if compiled else []
        self._begin()
        return []

    def give_up(self, compiled: Compiled, reason: str) -> None:
        """Never use this one again in this process: it computes something else than the plain step."""
        self._loaded.pop(compiled.library.key, None)
        self._fail(compiled.library.key, reason)

    @property
    def shapes(self) -> Shapes:
        """How far it is."""
        compiling = len(self._waiting) + (self._running is not None)
        return Shapes(len(self._loaded), compiling, len(self._failed))

    def close(self) -> None:
        """End the compilation that runs. May be called twice."""
        self._waiting.clear()
        if self._running is not None:
            self._running.process.end()
            self._running = None

    def _at_hand(self, key: str) -> Compiled | None:
        if key in self._loaded or key in self._failed:
            return self._loaded.get(key)
        library = self._cache.find(key)
        return self._load(library) if library is not None else None

    def _may_compile(self, key: str) -> bool:
        jobs = [*self._waiting, *([self._running.job] if self._running else [])]
        if key in self._failed or any(job.key == key for job in jobs):
            return False
        if self._compiler is None and not self._told_compiler:
            self._told_compiler = True
            log.warning("steps are not compiled", reason=NO_COMPILER, consequence="the traced step serves")
        return self._compiler is not None

    def _build(self, job: _Job) -> Compiled:
        if self._compiler is None:
            raise ConfigError(f"engine.compile: {NO_COMPILER}")
        self.close()
        process = CompileProcess(self._cache.directory, job.step, job.forms, beside=False)
        try:
            built = self._awaited(job, process)
        except BaseException:
            process.end()
            raise
        compiled = self._end(job, process, built)
        if compiled is None:
            raise ConfigError(f"engine.compile: the step cannot be compiled: {self._failed.get(job.key)}")
        return compiled

    def _awaited(self, job: _Job, process: CompileProcess) -> Built:
        for _ in range(MOST_SECONDS):
            self.waiting(f"compiling the step of {job.step.shapes}")
            built = process.wait(1.0)
            if built is not None:
                return built
        raise ConfigError(f"engine.compile: {_hangs(MOST_SECONDS)}")

    def _begin(self) -> None:
        if self._running is None and self._waiting:
            job = self._waiting.popleft()
            try:
                process = CompileProcess(self._cache.directory, job.step, job.forms)
                self._running = _Running(job, process, self._clock.monotonic())
            except Exception as error:  # noqa: BLE001 (torch.export raises anything; the traced step serves)
                self._fail(job.key, str(error))

    def _end(self, job: _Job, process: CompileProcess, built: Built) -> Compiled | None:
        """Keep what was built, or say why there is nothing."""
        failure = built.failure
        try:
            if not failure:
                return self._keep(job, built)
        except (OSError, RuntimeError) as error:
            failure = str(error)
        finally:
            process.end()
        self._fail(job.key, failure)
        return None

    def _keep(self, job: _Job, built: Built) -> Compiled:
        form, compiler = str(built.about["form"]), str(self._compiler)
        conditions = conditions_here(job.step.shapes, form, compiler)
        about: dict[str, Any] = {
            "key": job.key,
            "conditions": asdict(conditions),
            "microseconds": built.about["microseconds"],
            "seconds": built.about["seconds"],
        }
        name = name_of(job.key, form, compiler)
        library = self._cache.put(built.library, name, about)
        self.seconds += library.seconds
        log.info(
            "step compiled",
            executor=name,
            form=library.form,
            seconds=round(library.seconds, 1),
            microseconds_a_call=round(library.microseconds[library.form], 1),
        )
        return self._load(library)

    def _fail(self, key: str, reason: str) -> None:
        self._failed[key] = reason
        log.warning("step not compiled", reason=reason, consequence="the traced step serves")

    def _load(self, library: Library) -> Compiled:
        runner = torch._C._aoti.AOTIModelContainerRunnerCpu(str(library.path), 1)
        compiled = self._loaded[library.key] = Compiled(library.name, runner.run, library)
        return compiled


def _hangs(seconds: int) -> str:
    return (
        f'the compiler has not ended within {seconds} s; see what holds it up, or set engine.compile = "off"'
    )


def _untold(_words: str) -> None:
    """Nobody is told."""
