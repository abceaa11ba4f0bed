"""A fault of the model ends the program before a topic is set aside; a bad first record does not."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from streammeta.codec import MSGPACK, encode_msgpack
from streammeta.config import Config, load_config
from streammeta.errors import ConfigError, Reason
from streammeta.events import Record, episode_of
from streammeta.observe.snapshot import Snapshot
from streammeta.programs.daemon import run_daemon
from streammeta.runtime.first_refusals import FIRST_REFUSALS
from tests.scripted import CollectedDeadLetters, ScriptedSource


def records(widths: Sequence[int]) -> list[Record]:
    """One record each, of a task of its own, with so many features."""
    draws, made = np.random.default_rng(1), []
    for offset, width in enumerate(widths):
        x, y = draws.normal(size=(2, 3, width)), draws.normal(size=(2, 3, 1))
        value = encode_msgpack(episode_of(x[0], y[0], x[1], y[1]))
        headers = (("content-type", MSGPACK.encode()),)
        made.append(Record("tasks", 0, offset, offset, f"task-{offset}".encode(), value, headers))
    return made


def config_of(folder: Path, *settings: str) -> Config:
    """A small learner of two features."""
    base = (
        f"state.dir={folder / 'state'}",
        "model.args.sizes=[2, 2, 1]",
        "http.port=0",
        "engine.compile=off",
        "log.format=json",
    )
    return load_config(None, [*base, "algorithm.order=first", *settings], {})


def live(
    config: Config, script: Sequence[Record], letters: CollectedDeadLetters, batch: int = 100
) -> Snapshot:
    """One life, to the end of the script."""
    source = ScriptedSource(script, lambda: batch)
    return run_daemon(
        config, read_config=lambda: config, connect=lambda _config, _go: (source, letters), until_end=True
    )


def test_a_model_that_refuses_all_first_records_ends_the_program(tmp_path: Path) -> None:
    """Exit 78 with what was refused and the remedy; no letter, and the next start reads all again."""
    config, letters = config_of(tmp_path), CollectedDeadLetters([])
    for _ in range(2):
        with pytest.raises(
            ConfigError, match=r"(?s)refused 10 records.*3 features.*takes 2.*kafka\.start"
        ) as error:
            live(config, records([3] * 30), letters)
        assert error.value.exit_code == 78
        assert (letters.sent, letters.kept) == ([], [])
    assert live(config, records([2] * 30), letters)["events"] == 30


@pytest.mark.parametrize("bad", [1, FIRST_REFUSALS - 1])
def test_bad_first_records_are_dead_letters(bad: int, tmp_path: Path) -> None:
    """The stream goes on with the first that can be learned; letters are in order, each once."""
    letters = CollectedDeadLetters([])
    last = live(config_of(tmp_path), script := records([*[3] * bad, 2, *[3] * 20]), letters, batch=1)
    assert last["events"] == 1
    assert [record for record, _ in letters.kept] == [record for record in script if record.offset != bad]
    assert {refusal.reason for _, refusal in letters.kept} == {Reason.SHAPE_MISMATCH}


def test_a_checkpoint_between_does_not_forget(tmp_path: Path) -> None:
    """The number belongs to the state: a slow topic does not end up in the dead letters life by life."""
    config, letters = config_of(tmp_path, "state.checkpoint_events=4"), CollectedDeadLetters([])
    for _ in range(3):
        with pytest.raises(ConfigError, match=r"refused 10 records"):
            live(config, records([3] * 30), letters, batch=1)
    assert len(letters.kept) == 8
    assert letters.sent == []


def test_wild_rates_from_the_first_event_on_end_the_program(tmp_path: Path) -> None:
    """Updates that all overflow are a fault of the settings: not 30 of 30 dead letters."""
    config = config_of(tmp_path, "algorithm.inner_lr=1e300", "model.dtype=float32")
    with pytest.raises(ConfigError, match=r"non_finite_update.*lower algorithm.inner_lr"):
        live(config, records([2] * 30), CollectedDeadLetters([]))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            ["model.factory=tests.faulty_models:keeping", 'model.args={how = "written_buffer"}'],
            "the buffer mean",
        ),
        (["model.factory=tests.faulty_models:spectral", "model.args={}"], "spectral_norm"),
        (["model.loss=tests.faulty_models:vector"], "reduction"),
        (
            ["model.factory=tests.faulty_models:Constant", 'model.args={bug = "name"}'],
            "NameError in faulty_models",
        ),
    ],
)
def test_a_faulty_model_is_told_before_anything_is_read(
    settings: list[str], said: str, tmp_path: Path
) -> None:
    """At start: the source is never asked."""
    config = config_of(tmp_path, *settings)

    def connect(*_: object) -> tuple[ScriptedSource, CollectedDeadLetters]:
        raise AssertionError

    with pytest.raises(ConfigError, match=said):
        run_daemon(config, read_config=lambda: config, connect=connect)


def test_the_traceback_is_told_to_those_who_debug(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The message has type, file and line; the frames come with log.level = "debug" alone."""
    for level in ("info", "debug"):
        settings = ("model.factory=tests.faulty_models:broken", "model.args={}", f"log.level={level}")
        config = config_of(tmp_path, *settings)
        with pytest.raises(ConfigError, match=r"KeyError in faulty_models\.py, line \d+, in broken: 'width'"):
            run_daemon(config, read_config=lambda config=config: config)  # type: ignore[misc]  # bound at once
        assert ("Traceback" in capsys.readouterr().err) is (level == "debug")
