"""The state directory has one writer, and says who it is."""

import os
import subprocess
from pathlib import Path

import pytest

from streammeta.errors import StateError, StateLocked
from streammeta.state.directory import StateDirectory
from tests.state.processes import next_line, python

HOLD = """
import pathlib, sys
from streammeta.state.directory import StateDirectory
with StateDirectory(pathlib.Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_created_with_its_parents(tmp_path: Path) -> None:
    """Entering makes the directory; the paths lie in it, and are known without entering."""
    state = StateDirectory(tmp_path / "a" / "state")
    assert (state.lmdb_path.parent, state.order_log_path.parent) == (state.path, state.path)
    assert not state.path.exists()
    with state as entered:
        assert entered is state
        assert state.path.is_dir()


def test_locked_by_another_process(tmp_path: Path) -> None:
    """A second writer is refused and told the first one's process id and what to do."""
    with python("-c", HOLD, str(tmp_path)) as holder:
        assert next_line(holder) == "locked"
        with pytest.raises(StateLocked, match=rf"process {holder.pid} writes to it; stop that process, or"):
            StateDirectory(tmp_path).__enter__()
        assert StateLocked.exit_code == 73


def test_refused_without_harm(tmp_path: Path) -> None:
    """A refused writer leaves the lock and the holder's id as they are."""
    with StateDirectory(tmp_path):
        for _ in range(2):
            with pytest.raises(StateLocked, match=f"process {os.getpid()} "):
                StateDirectory(tmp_path).__enter__()


def test_freed_by_a_kill(tmp_path: Path) -> None:
    """SIGKILL of the holder frees the lock, and the next holder's id replaces the old one."""
    with python("-c", HOLD, str(tmp_path)) as holder:
        assert next_line(holder) == "locked"
        holder.kill()
        holder.wait()
        with StateDirectory(tmp_path):
            assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_only_the_holder_is_named(tmp_path: Path) -> None:
    """Nothing of a former, longer entry stays behind the holder's id."""
    (tmp_path / "lock").write_text("99999999999\n")
    with StateDirectory(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    assert (tmp_path / "lock").read_text() == ""


def test_freed_on_leaving(tmp_path: Path) -> None:
    """A directory that was left can be entered again, by the same object too."""
    state = StateDirectory(tmp_path)
    for _ in range(2):
        with state:
            pass
    with StateDirectory(tmp_path):
        pass


def test_not_inherited(tmp_path: Path) -> None:
    """A process started by the holder does not hold the lock after it."""
    with StateDirectory(tmp_path):
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False)
    with child, StateDirectory(tmp_path):
        pass


def test_cannot_be_created(tmp_path: Path) -> None:
    """The refusal names the setting, its value, the cause and the remedy."""
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match=r"state\.dir = '.*/file/state': Not a directory; name a directory"):
        StateDirectory(tmp_path / "file" / "state").__enter__()


@pytest.mark.parametrize("content", [None, b""])
def test_a_state_that_lost_its_data_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """An order log without its store is no new state: it tells of one that was lost."""
    with StateDirectory(tmp_path) as directory:
        directory.lmdb_path.mkdir()
        directory.order_log_path.write_bytes(b"something")
        if content is not None:
            (directory.lmdb_path / "data.mdb").write_bytes(content)
    with pytest.raises(StateError, match=r"data\.mdb is gone or empty"), StateDirectory(tmp_path):
        pass
