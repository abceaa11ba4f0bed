"""A challenger's state in the champion's place: whole, or not at all, whenever the process is killed."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streammeta.errors import StateError, StateLocked
from streammeta.state.checkpoint import pack
from streammeta.state.copies import create, verify
from streammeta.state.directory import StateDirectory
from streammeta.state.exchange import EXCHANGE
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.order_log import OrderLog
from streammeta.state.promotion import promote
from tests.cli.conftest import Invoke
from tests.states import checkpoint_of, rows

__all__ = ["streammeta"]

from tests.cli.conftest import streammeta


class Killed(BaseException):
    """The process was killed here."""


def make(directory: Path, events: int, topic_id: str = "id") -> StateDirectory:
    """A state after so many events, with a kept copy and an order log."""
    with StateDirectory(directory) as made:
        origin = replace(checkpoint_of().origin, fit={"kafka": {"topic": "tasks"}})
        store = LmdbStore(made.lmdb_path)
        store.commit(pack(checkpoint_of(events, origin=origin, topic_id=topic_id)), rows(events))
        create(made, store)
        store.close()
        OrderLog.renew(made.order_log_path)
    return StateDirectory(directory)


def events_of(directory: StateDirectory) -> int:
    """Events of a state that is whole: its store, its log, nothing half-way."""
    with directory:
        assert not (directory.path / EXCHANGE).exists()
        assert directory.order_log_path.exists()
        return verify(directory.lmdb_path).checkpoint.progress.events


def test_the_challengers_state_is_the_champions_and_the_way_back(tmp_path: Path, streammeta: Invoke) -> None:
    """What it says to run next, what it keeps, and that the former champion comes back the same way."""
    champion, challenger = make(tmp_path / "champion", 9), make(tmp_path / "challenger", 7)
    done = streammeta("promote", "--state", champion.path, "--shadow", challenger.path)
    assert done.exit_code == 0, done.output
    assert events_of(champion) == 7
    assert events_of(challenger) == 7
    assert f"--set state.dir={champion.path}" in done.output
    back = done.output.partition("the way back: streammeta ")[2].split()
    aside = StateDirectory(Path(back[-1]))
    assert events_of(aside) == 9
    assert [path.name for path in aside.copies_path.iterdir()] == ["9"]
    assert not champion.copies_path.exists()
    assert streammeta(*back).exit_code == 0
    assert events_of(champion) == 9


def dying(monkeypatch: pytest.MonkeyPatch, at: int) -> Callable[[], bool]:
    """The process dies before this change of a name; whether it did is told."""
    left = [at]

    def counted(change: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*arguments: Any, **named: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            return change(*arguments, **named)

        return counting

    for name in ("rename", "unlink", "rmdir", "mkdir"):
        monkeypatch.setattr(Path, name, counted(getattr(Path, name)))
    return lambda: left[0] <= 0


def test_killed_at_any_moment_one_state_or_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever enters next finds the old state whole, or the new one whole and the old one beside it."""
    found, at = [], 0
    while True:
        at += 1
        champion = make(tmp_path / f"champion-{at}", 9)
        challenger = make(tmp_path / f"challenger-{at}", 7)
        with monkeypatch.context() as dangerous, champion, challenger:
            killed = dying(dangerous, at)
            with suppress(Killed):
                promote(champion, challenger, "demoted")
            died = killed()
        found.append(events_of(champion))
        if found[-1] == 7:
            assert events_of(StateDirectory(champion.path / "demoted")) == 9
        assert events_of(challenger) == 7
        if not died:
            break
    assert found == sorted(found, reverse=True)
    assert found.count(9) >= 3
    assert found.count(7) >= 6


@pytest.mark.parametrize("which", ["champion", "challenger"])
def test_refused_while_one_is_written_to(which: str, tmp_path: Path, streammeta: Invoke) -> None:
    """Exit 73, nothing changed."""
    places = {name: make(tmp_path / name, number) for number, name in ((9, "champion"), (7, "challenger"))}
    with StateDirectory(tmp_path / which):
        done = streammeta("promote", "--state", tmp_path / "champion", "--shadow", tmp_path / "challenger")
    assert done.exit_code == StateLocked.exit_code
    assert events_of(places["champion"]) == 9


def test_another_topic_or_damage_is_refused(tmp_path: Path) -> None:
    """Positions that say nothing in the champion's topic; a value that is not what was written."""
    champion, other = make(tmp_path / "champion", 9), make(tmp_path / "other", 7, topic_id="anew")
    with champion, other, pytest.raises(StateError, match="id anew"):
        promote(champion, other, "demoted")
    damaged = make(tmp_path / "damaged", 7)
    data = damaged.lmdb_path / "data.mdb"
    content = bytearray(data.read_bytes())
    place = content.rindex(b"a/1")
    content[place + 20] ^= 1
    data.write_bytes(content)
    with champion, damaged, pytest.raises(StateError):
        promote(champion, damaged, "demoted")
    assert events_of(champion) == 9
    assert not (champion.path / "demoted").exists()


def test_the_same_state_or_none_is_refused(tmp_path: Path, streammeta: Invoke) -> None:
    """Exit 65, in words."""
    champion = make(tmp_path / "champion", 9)
    same = streammeta("promote", "--state", champion.path, "--shadow", champion.path)
    none = streammeta("promote", "--state", champion.path, "--shadow", tmp_path / "none")
    assert (same.exit_code, none.exit_code) == (65, 65)
    assert "own state" in same.output
    assert "neither" in none.output
