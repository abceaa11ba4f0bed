"""A recording straight into the learner: the daemon's loop with a recording as its source, and no broker."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from rich.console import Console

from streammeta.config import Config
from streammeta.errors import StateError
from streammeta.observe.status import Snapshot
from streammeta.programs.daemon import run_daemon
from streammeta.recording.reader import Recording
from streammeta.recording.selection import Selection
from streammeta.recording.source import ReplaySource
from streammeta.runtime.compiling import traced
from streammeta.runtime.tape import Tape
from streammeta.state.checkpoint import Checkpoint, unpack
from streammeta.state.directory import StateDirectory
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.order_log import OrderLog
from streammeta.stream.generated import NoDeadLetters


def untimed(config: Config) -> Config:
    """The same, but no iteration is closed by the clock: a replay closes them where the recording says.

    All steps are traced, as in a run that records: a recording does not say where a compiled one took over.
    """
    events = config.events.model_copy(update={"batch_linger_seconds": math.inf})
    return traced(config.model_copy(update={"events": events}))


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

    Dead letters are counted and written nowhere. The HTTP port is `port`, not that of the configuration.

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
        RecordingError: a part cannot be used.
    """
    recording.check(selection)
    if from_state is not None:
        _copy(from_state, config.state.dir, recording)
    source = ReplaySource(recording, selection)

    def taping(begun: Checkpoint) -> AbstractContextManager[Tape]:
        if from_state is None and begun.positions and not _is_replay(begun, recording):
            raise _occupied(config.state.dir)
        source.resume(begun)
        return nullcontext(source)

    http = config.http.model_copy(update={"port": port})
    config = of_recording(config.model_copy(update={"http": http}), recording)
    return run_daemon(
        config,
        read_config=lambda: config,
        connect=lambda _config, _keep_going: (source, NoDeadLetters()),
        taping=taping,
        until_end=True,
        console=console,
        on_serving=on_serving,
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
