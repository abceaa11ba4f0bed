"""Which steps a replay uses: those that learned the recording, where they can be had."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from streammeta.config import Config
from streammeta.errors import RecordingError
from streammeta.programs.replay import _follows, of_recording
from streammeta.recording.reader import Recording
from streammeta.recording.selection import ALL, Bound, Selection
from tests.scripted import make_script
from tests.world import CONFIG, World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, compiled_world: Path) -> World:
    """A recording of which the first part was learned by the traced step, the others by a compiled one."""
    script = make_script(1, partitions=2, tasks=5, events=40)
    folder = tmp_path_factory.mktemp("replay")
    world = World(script, folder, part_bytes=2000, compiled_from=compiled_world)
    assert world.live(batch=lambda: 12)
    return world


def asked(cache: Path, compile: str = "auto", **model: object) -> Config:  # noqa: A002 (the setting's name)
    """The world's configuration with these settings."""
    engine = CONFIG.engine.model_copy(update={"compile": compile, "cache_dir": str(cache)})
    changes = {"engine": engine, "model": CONFIG.model.model_copy(update=model)}
    return CONFIG.model_copy(update=changes)


def follows(world: World, config: Config, selection: Selection = ALL) -> bool:
    """What a replay of the world's recording decides."""
    recording = Recording(world.recording)
    return _follows(of_recording(config, recording), recording, selection)


def test_the_steps_that_learned_it_learn_again(world: World, compiled_world: Path, tmp_path: Path) -> None:
    """From the cache that has them, or compiled again where the compiler is the same."""
    assert follows(world, asked(compiled_world))
    assert follows(world, asked(compiled_world, "require"))
    assert follows(world, asked(tmp_path / "empty"))


def test_a_step_that_cannot_be_had_is_refused_before_anything_is_learned(
    world: World, compiled_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says why and what to do; rows that no such step learned can be replayed all the same."""
    with pytest.raises(
        RecordingError, match=r'model\.threads was 1, here 2\).*engine\.compile = "off"'
    ) as no:
        follows(world, asked(compiled_world, threads=2))
    assert no.value.exit_code == 65
    with monkeypatch.context() as patched:
        patched.setenv("PATH", "")
        assert follows(world, asked(compiled_world))
        with pytest.raises(RecordingError, match=r"not.* hold it.*here there is no compiler"):
            follows(world, asked(tmp_path / "empty"))
        first = Recording(world.recording).manifest.parts[0]
        assert not first.executors
        last_time = first.time_ms.end
        assert follows(world, asked(tmp_path / "empty"), Selection(end=Bound("time", last_time)))


def test_the_traced_step_learns_where_that_is_asked_for(world: World, tmp_path: Path) -> None:
    """With a warning that last digits may differ, which names the steps."""
    with capture_logs() as told:
        assert not follows(world, asked(tmp_path / "empty", "off"))
    (line,) = told
    assert line["executors"] == [*world.checkpoint().executors]
    assert "last digits may differ" in line["consequence"]


def test_another_learner_does_not_follow(world: World, tmp_path: Path) -> None:
    """What another model was learned by means nothing here: nothing is asked for, nothing refused."""
    assert not follows(world, asked(tmp_path / "empty", seed=5))
