"""`streammeta predict`: a line in, a line out, all of one commit."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from streammeta.api import Learner
from streammeta.cli import main
from tests.cli.conftest import Invoke
from tests.library.test_learner import Own, sets
from tests.serving.states import Asked, adapted, asked, forward, parameters


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    """A state of six tasks."""
    return asked(tmp_path_factory.mktemp("predict"), 6)


def test_lines(streammeta: Invoke, learned: Asked, tmp_path: Path) -> None:
    """What NumPy computes from an export; a line that cannot be answered is told in its place."""
    good = {"x": [[0.5], [-1.0]]}
    support = {"x": [[1.0], [2.0]], "y": [[0.0], [1.0]]}
    lines = [json.dumps(one) for one in (good, {**good, "support": support}, {"x": [[1, 2]]}, good)]
    (tmp_path / "lines").write_text("\n".join([*lines, "{", ""]))
    done = streammeta("predict", "--state", learned.path, "--task", "task-0", "--input", tmp_path / "lines")
    assert done.exit_code == 1
    assert "not answered: 2 lines" in done.stderr
    one, two, three, four, five = map(json.loads, done.stdout.splitlines())
    x, meta = np.array(good["x"]), parameters(learned.export, "meta")
    assert (one["at"], two["at"]) == ("memory", "adapted")
    assert one == four
    np.testing.assert_allclose(one["y"], forward(parameters(learned.export, "task/task-0"), x), atol=1e-5)
    sent = type(learned.held["task-1"])(*(np.array(values) for values in support.values()))
    np.testing.assert_allclose(two["y"], forward(adapted(meta, sent), x), atol=1e-5)
    assert (three["field"], three["reason"]) == ("x", "shape_mismatch")
    assert five["reason"] == "undecodable"


def test_from_standard_input(learned: Asked) -> None:
    """One line is answered before the next is read; `--at` says where."""
    arguments = ["predict", "--state", str(learned.path), "--task", "task-1", "--at", "meta"]
    done = CliRunner().invoke(main, arguments, input='{"x": [[0.5]]}\n\n{"x": [[0.25]]}\n')
    assert done.exit_code == 0
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["at"] for answer in answers] == ["meta", "meta"]
    right = forward(parameters(learned.export, "meta"), np.array([[0.5], [0.25]]))
    np.testing.assert_allclose(np.concatenate([answer["y"] for answer in answers]), right, atol=1e-5)


def test_code_that_a_state_names(streammeta: Invoke, tmp_path: Path) -> None:
    """It is run on somebody's word alone."""
    learner = Learner(Own, algorithm={"name": "moml", "order": "first"})
    learner.learn("a", *sets(0))
    learner.save(tmp_path / "state")
    (tmp_path / "lines").write_text('{"x": [[1, 1]]}')
    words = ("predict", "--state", tmp_path / "state", "--task", "a", "--input", tmp_path / "lines")
    refused = streammeta(*words)
    assert refused.exit_code == 2
    assert "names code to run" in refused.stderr
    trusted = streammeta(*words, "--trust-model")
    np.testing.assert_allclose(json.loads(trusted.stdout)["y"], learner.predict("a", [[1, 1]]), atol=1e-6)
