"""A recording straight into the learner: the daemon's loop with a recording as its source, and no broker."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import structlog
from rich.console import Console

from streammeta.config import Config, config_hash
from streammeta.errors import ConfigError, RecordingError, StateError
from streammeta.events import Conditions
from streammeta.learner.executors.identity import compiler_version, conditions_here
from streammeta.observe.logs import configure_logging
from streammeta.observe.snapshot import Snapshot
from streammeta.programs.daemon import run_daemon
from streammeta.recording.reader import Recording
from streammeta.recording.selection import Selection
from streammeta.recording.source import ReplaySource
from streammeta.runtime.compiling import compiled_steps_cache, traced
from streammeta.runtime.tape import Tape
from streammeta.state.checkpoint import Checkpoint, unpack
from streammeta.state.directory import StateDirectory
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.order_log import OrderLog
from streammeta.stream.generated import NoDeadLetters


def untimed(config: Config) -> Config:
    """The same, but no iteration is closed by the clock: a replay closes them where the recording says."""
    events = config.events.model_copy(update={"batch_linger_seconds": math.inf})
    return config.model_copy(update={"events": events})


def of_recording(config: Config, recording: Recording) -> Config:
    """The configuration for learning from it: its topic, and no clock."""
    kafka = config.kafka.model_copy(update={"topic": recording.manifest.topic})
    return untimed(config.model_copy(update={"kafka": kafka}))


def replay(
    config: Config,
    recording: Recording,
    selection: Selection,
    *,
    from_state: Path | None = None,
    port: int = 0,
    console: Console | None = None,
    on_serving: Callable[[str], None] = lambda _: None,
) -> Snapshot:
    """Learn from the recording, into the state directory of `config`; go on where a killed replay stopped.

    Each row is learned by the step that learned it when it was recorded; a recording of a topic, or of
    another learner, by the traced one, unless compiled ones are required.

    Dead letters are counted and written nowhere; what is asked is passed over. The HTTP port is `port`, not
    that of the configuration.

    Args:
        config: The configuration.
        recording: What to learn from.
        selection: Which rows of it.
        from_state: Begin with a copy of this state, and with the rows after its positions.
        port: Of HTTP; 0 takes a free one.
        console: A terminal for the live view.
        on_serving: Told the HTTP address.

    Raises:
        StateError: the state directory holds another state.
        RecordingError: a part cannot be used, or a compiled step that learned from it cannot be had.
    """
    configure_logging(config.log.level, config.log.format)
    http = config.http.model_copy(update={"port": port})
    config = of_recording(config.model_copy(update={"http": http}), recording)
    recording.check(selection)
    follows = _follows(config, recording, selection)
    if not follows and config.engine.compile == "auto":
        config = traced(config)
    if from_state is not None:
        _copy(from_state, config.state.dir, recording)
    source = ReplaySource(recording, selection, follows=follows)

    def taping(begun: Checkpoint) -> AbstractContextManager[Tape]:
        if from_state is None and begun.positions and not _is_replay(begun, recording):
            raise _occupied(config.state.dir)
        source.resume(begun)
        return nullcontext(source)

    return run_daemon(
        config,
        read_config=lambda: config,
        connect=lambda _config, _keep_going: (source, NoDeadLetters()),
        connect_answers=lambda _config, _keep_going: None,
        taping=taping,
        until_end=True,
        console=console,
        on_serving=on_serving,
    )


def _follows(config: Config, recording: Recording, selection: Selection) -> bool:
    """Whether this learner learned the recording, and its steps shall do it again; that they can is checked.

    Raises:
        RecordingError: one of them cannot be had.
    """
    manifest = recording.manifest
    if manifest.kind != "learned" or manifest.learner not in ("", config_hash(config)):
        return False
    compiled = recording.compiled(selection)
    if config.engine.compile != "off":
        for name, conditions in compiled.items():
            _refuse_lost(config, recording, name, conditions)
        return True
    if compiled:
        structlog.get_logger().warning(
            "compiled steps not used",
            executors=[*compiled],
            reason='engine.compile = "off"',
            consequence="the traced step learns what they learned; last digits may differ",
        )
    return False


def _refuse_lost(config: Config, recording: Recording, name: str, conditions: Conditions) -> None:
    """As far as it can be told before the model is built."""
    why = conditions.unlike(replace(conditions_here(), threads=config.model.threads))
    try:
        held = compiled_steps_cache(config).get(name) is not None
    except ConfigError as error:
        why.append(str(error))
    else:
        compiler = compiler_version() or "there is no compiler"
        if not held and compiler != conditions.compiler:
            why.append(
                f"engine.cache_dir does not hold it, its compiler was {conditions.compiler}, here {compiler}"
            )
    if why:
        raise RecordingError(
            f"recording {recording.directory} was learned by the compiled step {name}, which cannot be had "
            f"here ({'; '.join(why)}). Replay it where that can be had, bring its engine.cache_dir, or set "
            'engine.compile = "off": then the traced step learns from it, and last digits may differ'
        )


def _is_replay(state: Checkpoint, recording: Recording) -> bool:
    mark = state.recording
    return mark is not None and mark.replayed and mark.id == recording.id


def _copy(origin: Path, target: Path, recording: Recording) -> None:
    """Copy a state into a directory that has none; one that has a replay of the recording is gone on with.

    Raises:
        StateError: there is another state, or none to copy.
    """
    with StateDirectory(target) as directory:
        if not directory.lmdb_path.exists():
            LmdbStore.copy(StateDirectory(origin).lmdb_path, directory.lmdb_path)
            OrderLog.renew(directory.order_log_path)
            return
        store = LmdbStore(directory.lmdb_path, readonly=True)
        try:
            meta = store.load()
        finally:
            store.close()
        if meta is not None and not _is_replay(unpack(meta), recording):
            raise _occupied(target)


def _occupied(directory: Path) -> StateError:
    return StateError(
        f"state.dir = {str(directory)!r} holds a state that is not a replay of this recording; name a new "
        "directory (--set state.dir=DIR), and begin with a copy of that state, if you like (--from-state)"
    )
