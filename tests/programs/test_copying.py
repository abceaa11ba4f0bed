"""Kept copies around a daemon: made while it learns, put back, and gone on from to the same bits."""

import json
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streammeta.cli import main
from streammeta.config import Config, load_config
from streammeta.errors import StateError, StateLocked
from streammeta.events import Record
from streammeta.programs import copying
from streammeta.programs.daemon import run_daemon
from streammeta.state.copies import copies, create, restore, rotate, verify
from streammeta.state.directory import StateDirectory
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.store import Meta
from tests.scripted import CollectedDeadLetters, ScriptedSource, make_script

SCRIPT = make_script(4, partitions=1, tasks=5, events=60, poison=0.1)


def config_of(directory: Path, *, keep: int = 3) -> Config:
    """A small learner that checkpoints every five events."""
    settings = (
        f"state.dir={directory}",
        f"state.keep_checkpoints={keep}",
        "state.checkpoint_events=5",
        "model.args.sizes=[2, 2, 1]",
        "algorithm.order=first",
        "http.port=0",
        "log.format=json",
    )
    return load_config(None, [*settings], {})


def learn(config: Config, script: list[Record], *, at_poll: Callable[[], None] = lambda: None) -> None:
    """A daemon's life up to the end of the script."""

    def batch() -> int:
        at_poll()
        return 5

    run_daemon(
        config,
        read_config=lambda: config,
        connect=lambda _config, _keep_going: (ScriptedSource(script, batch), CollectedDeadLetters([])),
        until_end=True,
    )


def content(directory: Path) -> tuple[Meta, dict[str, str]]:
    """What the state has learned."""
    with closing(LmdbStore(directory / "lmdb", readonly=True)) as store:
        meta = store.load()
        assert meta is not None
        return Meta(meta.tensors, meta.document), {task: repr(store.get(task)) for task, _ in store.stats()}


def invoke(*arguments: object) -> Result:
    """The command line."""
    return CliRunner().invoke(main, [*map(str, arguments)])


def ruin(directory: Path) -> None:
    """Zeros in the middle of the data file, where values and pages of trees are."""
    data = directory / "lmdb" / "data.mdb"
    content = bytearray(data.read_bytes())
    content[8192:] = bytes(len(content) - 8192)
    data.write_bytes(content)


def test_a_restored_state_goes_on_to_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies are made and rotated, the state damaged, a copy put back, the rest learned: the same bits."""
    monkeypatch.setattr(copying, "PERIOD_SECONDS", 0.0)
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    learn(config_of(undisturbed, keep=0), SCRIPT)
    assert not (undisturbed / "checkpoints").exists()
    learn(config_of(disturbed), SCRIPT[:40])
    place = StateDirectory(disturbed)
    assert 1 <= len(copies(place)) <= 3
    ruin(disturbed)
    with pytest.raises(StateError, match="damaged"):
        learn(config_of(disturbed), SCRIPT)
    refused = invoke("checkpoint", "verify", "--state", disturbed)
    newest = copies(place)[0].events
    assert refused.exit_code == 65
    assert f"the newest sound copy has {newest} events: streammeta checkpoint restore" in refused.stderr
    done = invoke("checkpoint", "restore", "--state", disturbed)
    assert done.exit_code == 0, done.output
    assert f"restored the copy of {newest} events" in done.stdout
    offset = verify(place.lmdb_path).checkpoint.positions[0]
    assert f"goes on at these offsets by partition: 0: {offset}" in done.stdout
    assert (disturbed / "damaged-1" / "lmdb" / "data.mdb").exists()
    learn(config_of(disturbed), SCRIPT)
    assert content(disturbed) == content(undisturbed)


def test_restore_passes_over_damaged_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest sound one is put back, the damaged one named; with none left nothing is moved."""
    monkeypatch.setattr(copying, "PERIOD_SECONDS", 1e9)
    state = tmp_path / "state"
    for end in (20, 40):
        learn(config_of(state, keep=0), SCRIPT[:end])
        assert invoke("checkpoint", "create", "--state", state).exit_code == 0
    newer, older = copies(StateDirectory(state))
    ruin(newer.path)
    listed = invoke("checkpoint", "list", "--state", state, "--format", "json")
    assert [(row["events"], row["sound"]) for row in json.loads(listed.stdout)] == [
        (newer.events, False),
        (older.events, True),
    ]
    done = invoke("checkpoint", "restore", "--state", state)
    assert f"passed over the copy of {newer.events} events" in done.stderr
    assert f"restored the copy of {older.events} events" in done.stdout
    ruin(older.path)
    before = content(state)
    refused = invoke("checkpoint", "restore", "--state", state)
    assert refused.exit_code == 65
    assert "no sound copy" in refused.stderr
    assert content(state) == before


def test_restore_waits_for_the_writer_to_end(tmp_path: Path) -> None:
    """While a daemon holds the state, restore is refused; create, list and verify are not."""
    state = tmp_path / "state"
    learn(config_of(state, keep=0), SCRIPT[:10])
    codes: list[dict[str, int]] = []
    verbs = ("create", "list", "verify", "restore")

    def look() -> None:
        if len(codes) == 0:
            # LMDB allows one opening of a directory in a process: the daemon's is this one.
            with pytest.raises(StateLocked):
                StateDirectory(state).__enter__()
            codes.append({"restore": invoke("checkpoint", "restore", "--state", state).exit_code})

    learn(config_of(state, keep=0), SCRIPT[:20], at_poll=look)
    assert codes == [{"restore": 73}]
    assert {verb: invoke("checkpoint", verb, "--state", state).exit_code for verb in verbs} == dict.fromkeys(
        verbs, 0
    )


def test_a_lost_store_is_put_back(tmp_path: Path) -> None:
    """Where only order log and copies are left, restore brings the state back; a learner begins not anew."""
    state = tmp_path / "state"
    learn(config_of(state, keep=0), SCRIPT[:20])
    assert invoke("checkpoint", "create", "--state", state).exit_code == 0
    before = content(state)
    (state / "lmdb" / "data.mdb").unlink()
    with pytest.raises(StateError, match="is gone or empty"):
        learn(config_of(state), SCRIPT)
    assert invoke("checkpoint", "restore", "--state", state).exit_code == 0
    assert content(state) == before


@pytest.mark.parametrize("step", range(4))
def test_a_restore_that_is_cut_off(step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before any of its renamings: no learner begins anew, or takes another commit's order log."""
    state = tmp_path / "state"
    learn(config_of(state, keep=0), SCRIPT[:20])
    assert invoke("checkpoint", "create", "--state", state).exit_code == 0
    copied = content(state)
    learn(config_of(state, keep=0), SCRIPT[:40])
    ruin(state)
    calls = []

    def limited(was: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
        def renaming(path: Path, target: Path) -> Path:
            calls.append(path)
            if len(calls) == step + 1:
                raise KeyboardInterrupt
            return was(path, target)

        return renaming

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", limited(Path.rename))
        patched.setattr(Path, "replace", limited(Path.replace))
        with pytest.raises(KeyboardInterrupt), StateDirectory(state, whole=False) as place:
            restore(place)
    with pytest.raises(StateError, match=r"damaged|is gone or empty"):
        learn(config_of(state), SCRIPT)
    assert invoke("checkpoint", "restore", "--state", state).exit_code == 0
    assert content(state) == copied


def test_rotation_keeps_the_newest(tmp_path: Path) -> None:
    """By events as numbers, not as text; what is no copy is left alone."""
    state = tmp_path / "state"
    for end in (8, 20, 60):
        learn(config_of(state, keep=0), SCRIPT[:end])
        assert invoke("checkpoint", "create", "--state", state).exit_code == 0
    place = StateDirectory(state)
    (place.copies_path / "mine").mkdir()
    made = [copy.events for copy in copies(place)]
    assert made == sorted(made, reverse=True)
    assert len(made) == 3
    assert made[-1] < 10 < made[0]
    rotate(place, 2)
    assert [copy.events for copy in copies(place)] == made[:2]
    assert (place.copies_path / "mine").exists()


def test_a_copy_that_fails_leaves_none(tmp_path: Path) -> None:
    """A copy of a state without a commit is refused; no half of one is listed."""
    with StateDirectory(tmp_path / "state") as place, closing(LmdbStore(place.lmdb_path)) as store:
        with pytest.raises(StateError, match="nothing was committed"):
            create(place, store)
        assert copies(place) == []
        assert not any(place.copies_path.iterdir())


def test_what_a_state_holds_is_its_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files 0600, directories 0700, copies and order log too."""
    monkeypatch.setattr(copying, "PERIOD_SECONDS", 0.0)
    learn(config_of(tmp_path / "state"), SCRIPT[:30])
    modes = {path.relative_to(tmp_path): stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    wrong = {
        str(path): oct(mode)
        for path, mode in modes.items()
        if mode != (0o700 if (tmp_path / path).is_dir() else 0o600)
    }
    assert len(modes) > 8
    assert not wrong


@pytest.mark.parametrize("left", [None, b"", b"stream"])
def test_a_lost_order_log_is_told(
    left: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Absent or shorter than it can be, with what follows; a whole or a new one is not."""
    state = tmp_path / "state"
    learn(config_of(state, keep=0), SCRIPT[:10])
    learn(config_of(state, keep=0), SCRIPT[:15])
    assert "order log" not in capsys.readouterr().err
    (state / "order.log").unlink()
    if left is not None:
        (state / "order.log").write_bytes(left)
    learn(config_of(state, keep=0), SCRIPT[:20])
    warned = [json.loads(line) for line in capsys.readouterr().err.splitlines() if "order log" in line]
    assert [line["event"] for line in warned] == ["order log absent or cut short"]
    assert "learned again from the topic" in warned[0]["consequence"]
