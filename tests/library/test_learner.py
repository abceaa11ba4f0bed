"""`streammeta.Learner`: what it takes, shows, saves and refuses."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import streammeta
from streammeta.api import Learner, Lesson
from streammeta.cli import main
from streammeta.errors import BadEvent, ConfigError, NoAnswer, Reason, StateError
from streammeta.events import Array
from streammeta.models import mlp

Sets = tuple[tuple[Array, Array], tuple[Array, Array]]


def sets(seed: int) -> Sets:
    """A support and a query set of four examples."""
    x = np.random.default_rng(seed).normal(size=(2, 4, 2))
    return (x[0], x[0, :, :1]), (x[1], x[1, :, :1])


def small(**settings: object) -> Learner:
    """A learner of two weights and a bias."""
    made: dict[str, object] = {"args": {"sizes": [2, 1]}, "algorithm": {"name": "moml", "order": "first"}}
    return Learner(**(made | settings))  # type: ignore[arg-type]  # settings of a test


def test_a_program_without_kafka(tmp_path: Path) -> None:
    """Learning, predicting, saving and loading import no client, no server and no recordings."""
    program = f"""
import sys, streammeta
learner = streammeta.Learner(args={{"sizes": [1, 1]}})
one = ([[1.0], [2.0]], [[2.0], [4.0]])
learner.learn("a", one, one)
learner.save({str(tmp_path / "state")!r})
print(streammeta.Learner.load({str(tmp_path / "state")!r}).predict("a", [[3.0]]).shape)
print(sorted({{"kafka", "uvicorn", "starlette", "pyarrow", "click", "matplotlib"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["(1, 1)", "[]"]


def test_a_module_is_where_it_begins() -> None:
    """A module's own values are the first parameters; it stays as it was; what is asked has its kind."""
    module = mlp([2, 3, 1])
    before = [value.clone() for value in module.parameters()]
    learner = Learner(module, meta_lr=0.5)
    x = torch.ones(2, 2)
    assert torch.allclose(learner.predict("new", x), module(x), atol=1e-6)
    lesson = learner.learn("new", *sets(0))
    assert lesson.update_norm > 0
    assert not torch.allclose(learner.predict("new", x, at="meta"), module(x))
    assert all(map(torch.equal, before, module.parameters()))
    answer = learner.predict("new", [[1, 1]])
    assert isinstance(answer, np.ndarray)
    assert answer.dtype == np.float32


def test_modules_and_exports_are_what_is_predicted(tmp_path: Path) -> None:
    """At a task's memory and at w, by `predict`, by `module`, and by `load_export` of a saved state."""
    learner = small()
    for seed in range(6):
        learner.learn("ab"[seed % 2], *sets(seed))
    learner.save(tmp_path / "state")
    words = ["export", "--state", tmp_path / "state", "--output", tmp_path / "f", "--all-tasks"]
    assert CliRunner().invoke(main, [*map(str, words)]).exit_code == 0
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(1))
    for task in ("a", "b", None):
        wanted = streammeta.load_export(tmp_path / "f", mlp, task)(x)
        found = learner.predict(task or "a", x, at="memory" if task else "meta")
        assert torch.allclose(found, wanted, atol=1e-6)
        assert torch.equal(learner.module(task)(x), wanted)
    assert not torch.equal(learner.module("a")(x), learner.module("b")(x))


def test_what_is_refused_is_told_and_changes_nothing() -> None:
    """As the daemon refuses it, by the same reasons; predictions that cannot be had name the field."""
    learner = small()
    learner.learn("a", *sets(0))
    w = learner.predict("a", [[1.0, 1.0]], at="meta")
    (sx, sy), query = sets(1)
    for task, support, reason in (
        ("", (sx, sy), Reason.BAD_TASK_ID),
        ("a", (sx, sy[:2]), Reason.SHAPE_MISMATCH),
        ("a", (np.full_like(sx, np.nan), sy), Reason.NON_FINITE_INPUT),
        ("a", (sx[:0], sy[:0]), Reason.EMPTY_SET),
        ("a", (sx.astype(str), sy), Reason.BAD_TENSOR),
        ("a", (sx[:, :1], sy), Reason.SHAPE_MISMATCH),
    ):
        with pytest.raises(BadEvent) as refusal:
            learner.learn(task, support, query)
        assert refusal.value.reason == reason
    told = learner.learn_all([("a", (sx, sy), query), ("a", (sx, sy[:1]), query), ("b", (sx, sy), query)])
    assert (told.events, [*told.refused]) == (2, [1])
    assert learner.events == 3
    assert not np.array_equal(learner.predict("a", [[1.0, 1.0]], at="meta"), w)
    with pytest.raises(NoAnswer, match="not known, so it has no memory"):
        learner.predict("c", sx, at="memory")
    with pytest.raises(NoAnswer, match="never learned from"):
        learner.module("c")


def test_settings_are_refused_in_words() -> None:
    """A misspelt key, a wrong value, no model: named, with what helps."""
    with pytest.raises(ConfigError, match=r"did you mean 'beta'"):
        small(algorithm={"name": "moml", "bta": 0.1})
    with pytest.raises(ConfigError, match=r"outer\.lr = -1\.0"):
        small(meta_lr=-1.0)
    with pytest.raises(ConfigError, match=r"neither a torch\.nn\.Module nor what builds one"):
        Learner(7)  # type: ignore[arg-type]  # what is tried


class Own(nn.Module):
    """A model of the user's."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The layer alone."""
        prediction: torch.Tensor = self.layer(x)
        return prediction


def test_states_that_name_code(tmp_path: Path) -> None:
    """Loaded with the model at hand, or on the state's word when that is asked for; else refused."""
    learner = small(model=Own, args={})
    learner.learn("a", *sets(0))
    learner.save(tmp_path)
    with pytest.raises(ConfigError, match=r"names code to run: '.*test_learner:Own'"):
        Learner.load(tmp_path)
    x = [[0.5, 0.5]]
    for loaded in (Learner.load(tmp_path, model=Own), Learner.load(tmp_path, trust_model=True)):
        assert np.array_equal(loaded.predict("a", x), learner.predict("a", x))


def test_a_state_is_never_written_over_another(tmp_path: Path) -> None:
    """Only the commit that the learner itself read or wrote makes way."""
    one, other = small(), small()
    one.learn("a", *sets(0))
    one.save(tmp_path)
    with pytest.raises(StateError, match="neither read nor wrote"):
        other.save(tmp_path)
    loaded = Learner.load(tmp_path)
    loaded.learn("a", *sets(1))
    loaded.save(tmp_path)
    with pytest.raises(StateError, match="moved on"):
        one.save(tmp_path)
    assert Learner.load(tmp_path).events == 2


def test_in_a_notebook(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """History as a frame that goes on after a load, curves as a figure, facts as HTML, progress as a bar."""
    learner = small()
    seen: list[Lesson] = []
    learner.learn_all(((f"t{seed % 3}", *sets(seed)) for seed in range(12)), progress=True, each=seen.append)
    assert "learning" in capsys.readouterr().err
    frame = learner.history()
    assert [*frame.index] == [*range(1, 13)] == [lesson.events for lesson in seen]
    assert np.allclose(frame["loss_meta"], [lesson.loss_meta for lesson in seen])
    learner.save(tmp_path)
    loaded = Learner.load(tmp_path)
    loaded.learn("t0", *sets(99))
    assert [*loaded.history().index] == [*range(1, 14)]
    (axes,) = learner.plot().axes
    assert len(axes.lines) == 6
    assert "<td>12</td>" in learner._repr_html_()
    assert "events=12" in repr(learner)


def test_drift_is_told_by_the_lesson_that_shows_it() -> None:
    """By the detector's name or its table: nothing while the task stays, then once, with its levels."""
    touchy = {"detector": "page_hinkley", "min_visits": 5, "threshold": 4.0}
    learner = small(drift=touchy, dtype="float64")
    told = []
    for number in range(40):
        (sx, sy), (x, y) = sets(number)
        size = 1.0 if number < 30 else 9.0
        lesson = learner.learn("a", (sx, size * sy), (x, size * y))
        if lesson.drift is not None:
            told.append(lesson.drift)
    assert [one.task for one in told[-1:]] == ["a"]
    assert 30 < told[-1].event <= 36
    assert told[-1].after > told[-1].before
    assert learner.learn("a", *sets(1)).drift is None
    assert small(drift="adwin").learn("a", *sets(1)).drift is None
    with pytest.raises(ConfigError, match=r"drift\.detector"):
        small(drift="adwine")
