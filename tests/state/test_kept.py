"""What former versions wrote is opened, and gone on from, by this one."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from click.testing import CliRunner

from streammeta.cli import main
from streammeta.codec import change_of
from streammeta.events import Forget, Reset
from tests.state.kept import HERE, facts, learn, records_of

VERSIONS = sorted(folder.name for folder in HERE.iterdir() if (folder / "facts.json").exists())
RELATIVE = 1e-9
"""What sums of doubles may differ by on another machine."""


@pytest.fixture(params=VERSIONS)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of what a version wrote."""
    return Path(shutil.copytree(HERE / str(request.param), tmp_path / "kept"))


def told(kept: Path, when: str) -> dict[str, Any]:
    """What that version said of its own state."""
    found: dict[str, Any] = json.loads((kept / "facts.json").read_text())[when]
    return found


def as_json(value: dict[str, Any]) -> Any:
    """The value as it would be read again."""
    return json.loads(json.dumps(value))


def differences(expected: Any, found: Any, at: str = "") -> list[str]:
    """Where the two differ: numbers by more than the tolerance, all else at all; what is new is none."""
    if isinstance(expected, dict) and isinstance(found, dict):
        gone = [f"{at}/{name} is gone" for name in expected.keys() - found.keys()]
        shared = sorted(expected.keys() & found.keys())
        return gone + [
            line for name in shared for line in differences(expected[name], found[name], f"{at}/{name}")
        ]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        return [
            line
            for n, pair in enumerate(zip(expected, found, strict=True))
            for line in differences(*pair, f"{at}/{n}")
        ]
    if isinstance(expected, float) and isinstance(found, float):
        close = math.isclose(expected, found, rel_tol=RELATIVE, abs_tol=RELATIVE)
        return [] if close or expected != expected != found else [f"{at}: {expected} is {found}"]
    return [] if expected == found else [f"{at}: {expected!r} is {found!r}"]


def test_there_is_one() -> None:
    """With everything in it that a state may hold."""
    state = json.loads((HERE / VERSIONS[0] / "facts.json").read_text())["kept"]
    tasks = state["tasks"].values()
    assert state["quarantine"]
    assert state["blocks_of_ids"]
    assert any(task["stats"]["reset_after"] for task in tasks)
    for part in ("memory", "examples", "halves", "samples", "waiting"):
        assert any(task[part] for task in tasks), part


def test_what_it_held_is_read_to_the_last_bit(kept: Path) -> None:
    """Nothing is computed: every number is that which was written."""
    found = as_json(facts(kept / "state"))
    assert repr(differences(told(kept, "kept"), found)) == "[]"
    assert found["params"] == told(kept, "kept")["params"]
    for task, row in told(kept, "kept")["tasks"].items():
        assert found["tasks"][task]["memory"] == row["memory"]


def test_its_learning_goes_on(kept: Path) -> None:
    """With its own configuration and recording: events, buffers and refusals the same, numbers to 1e-9."""
    learn(kept, kept / "state", records_of(kept / "recording"))
    assert differences(told(kept, "learned"), as_json(facts(kept / "state"))) == []


def test_a_difference_is_seen() -> None:
    """In a number, in a count, in what is there."""
    one: dict[str, Any] = {"a": [1.0, 2, {"b": math.nan}], "c": None}
    assert differences(one, {"a": [1.0 + 1e-12, 2, {"b": math.nan}], "c": None, "new": 1}) == []
    others: list[dict[str, Any]] = [
        {"a": [1.001, 2, {"b": math.nan}], "c": None},
        {"a": [1.0, 3, {"b": math.nan}], "c": None},
        {"a": [1.0, 2, {}], "c": None},
        {"a": one["a"]},
    ]
    assert all(differences(one, other) for other in others)


def test_its_recording_keeps_tombstones_and_resets(kept: Path) -> None:
    """A value that is not there is null, no empty one."""
    changes = [change_of(record) for record in records_of(kept / "recording")]
    assert {type(change) for change in changes if change} == {Forget, Reset}


def test_its_export_is_made_again(kept: Path) -> None:
    """The same tensors by the same names, from the state; a task that was reset has none."""
    again = kept / "again.safetensors"
    asked = ["export", "--state", str(kept / "state"), "--all-tasks", "--output", str(again)]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 0, done.stderr
    before, now = (safetensors.torch.load_file(path) for path in (kept / "export.safetensors", again))
    assert before.keys() == now.keys()
    assert all(torch.equal(before[name], now[name]) for name in before)
    tasks = told(kept, "kept")["tasks"]
    remembered = {task for task, row in tasks.items() if row["memory"]}
    assert {name.split("/")[1] for name in now if name.startswith("task/")} == remembered
    assert any(row["stats"]["events"] and not row["memory"] for row in tasks.values())
