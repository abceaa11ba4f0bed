"""`streammeta compile`: what it asks for, and what it refuses."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streammeta.cli import main
from streammeta.events import Conditions
from streammeta.learner.executors.cache import Library
from streammeta.learner.executors.compiled import Compiled, CompiledSteps
from streammeta.learner.executors.process import TracedStep

CONDITIONS = Conditions("float32[1,3,2]", "small", "g++ 12", "2.13.0", "x86_64 AVX2 0", 1)
LIBRARY = Library("ab", "k", CONDITIONS, {"small": 2.25, "library": 3.0}, 31.0, Path("/cache/ab.so"))


def compile_verb(tmp_path: Path, *arguments: str) -> Result:
    """The verb with a cache of its own and a small model."""
    small = "model.args={sizes=[2,3,1]}"
    return CliRunner().invoke(
        main, ["compile", "--set", small, "--set", f"engine.cache_dir={tmp_path / 'cache'}", *arguments]
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[TracedStep]:
    """The steps that were asked for; compiling takes long and is tested elsewhere."""
    steps: list[TracedStep] = []

    def require(_self: CompiledSteps, step: TracedStep) -> Compiled:
        steps.append(step)
        return Compiled("ab", lambda _tensors: None, LIBRARY)

    monkeypatch.setattr(CompiledSteps, "require", require)
    return steps


def test_the_step_of_these_shapes_is_compiled(tmp_path: Path, asked: list[TracedStep]) -> None:
    """Sizes come from the options, else from [events]; the answer names executor, cost and file."""
    result = compile_verb(tmp_path, "--x", "2", "--query", "4", "--set", "events.support=7")
    assert result.exit_code == 0, result.output
    shapes = [tuple(tensor.shape) for tensor in asked[0].inputs[-4:]]
    assert shapes == [(1, 7, 2), (1, 7, 1), (1, 4, 2), (1, 4, 1)]
    assert "compiled:ab" in result.stdout
    assert "2.2 µs" in result.stdout


def test_classes_have_no_axis_of_their_own(tmp_path: Path, asked: list[TracedStep]) -> None:
    """Labels of a classifier are integers, one number an example."""
    classes = ("--set", "model.loss=cross_entropy", "--set", "model.args={sizes=[2,3,4]}")
    result = compile_verb(tmp_path, "--x", "2", *classes, "--format", "json")
    assert result.exit_code == 0, result.output
    assert asked[0].inputs[-1].shape == (1, 10)
    assert not asked[0].inputs[-1].is_floating_point()
    assert asked[0].predicts
    assert json.loads(result.stdout)["microseconds"] == {"small": 2.25, "library": 3.0}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--x", "5"), 78, "--x, --y: the model cannot take these shapes"),
        (("--x", "2,0"), 2, "sizes above 0"),
        (("--x", "a"), 2, "sizes above 0"),
        ((), 2, "--x"),
        (("--x", "2", "--support", "0"), 2, "--support"),
    ],
)
def test_what_cannot_be_compiled_is_refused(
    tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    """With the option named."""
    result = compile_verb(tmp_path, *arguments)
    assert result.exit_code == code
    assert message in result.output


def test_without_a_compiler_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 78, with the remedy."""
    monkeypatch.setenv("PATH", "")
    result = compile_verb(tmp_path, "--x", "2")
    assert result.exit_code == 78
    assert "no C++ compiler" in result.output


def test_the_trace_is_kept_too(tmp_path: Path, asked: list[TracedStep]) -> None:
    """The next start of the same learner reads it: no second is spent on tracing."""
    result = compile_verb(tmp_path, "--x", "2")
    assert result.exit_code == 0, result.output
    (kept,) = (tmp_path / "cache").glob("trace-*")
    before = kept.read_bytes()
    assert compile_verb(tmp_path, "--x", "2").exit_code == 0
    assert [*(tmp_path / "cache").glob("trace-*")] == [kept]
    assert kept.read_bytes() == before
    assert len(asked) == 2
