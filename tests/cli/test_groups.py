"""A group's directory where a state is asked for: `state reshard`, and readers that take it as one."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from streammeta.distributed.homes import home_of
from streammeta.distributed.place import directory_of
from streammeta.state import copies
from streammeta.state.directory import StateDirectory
from tests.cli.conftest import Invoke
from tests.distributed.groups import make_group, standing, write
from tests.serving.served import Client, answer, served
from tests.serving.states import Asked, asked
from tests.states import checkpoint_of

TASKS = ("a/1", "b", "ünï", "c", "d")


@pytest.fixture
def group(tmp_path: Path) -> Path:
    """Two ranks, four partitions, five tasks: 15 events."""
    return make_group(tmp_path / "group", 2, 4, TASKS)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    """A state of six tasks."""
    return asked(tmp_path_factory.mktemp("group"), 6)


def test_reshard(streammeta: Invoke, group: Path, tmp_path: Path) -> None:
    """Counts and a checksum, as text or JSON; to a single process it exports what the group does."""
    words = ("state", "reshard", "--from", group, "--world")
    done = streammeta(*words, 3, "--to", tmp_path / "three", "--format", "json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["world"], told["tasks"], told["events"], told["by_partitioner"]) == (3, 5, 15, True)
    assert sum(rank["tasks"] for rank in told["ranks"]) == 5
    text = streammeta(*words, 1, "--to", tmp_path / "one").stdout
    assert "5 tasks, 15 events" in text
    assert told["checksum"] in text
    again = streammeta(*words, 1, "--to", tmp_path / "one")
    assert (again.exit_code, "not empty" in again.stderr) == (65, True)
    for name in ("group", "three", "one"):
        output = tmp_path / f"{name}.safetensors"
        done = streammeta("export", "--state", tmp_path / name, "--output", output, "--all-tasks")
        assert done.exit_code == 0, done.stderr
    assert len({(tmp_path / f"{n}.safetensors").read_bytes() for n in ("group", "three", "one")}) == 1
    assert "task/ünï/0.weight" in load_file(tmp_path / "one.safetensors")


def test_a_running_group_is_not_moved(streammeta: Invoke, group: Path, tmp_path: Path) -> None:
    """Exit 73, with the process named."""
    with StateDirectory(directory_of(group, 1)):
        done = streammeta("state", "reshard", "--from", group, "--to", tmp_path / "one", "--world", 1)
    assert (done.exit_code, "stop the group" in done.stderr) == (73, True)


def test_a_group_is_listed_as_one(streammeta: Invoke, group: Path) -> None:
    """All tasks of all ranks; one is shown from the rank that knows it."""
    listed = json.loads(streammeta("tasks", "list", "--state", group, "--format", "json").stdout)
    assert {row["task"]: row["events"] for row in listed} == {"a/1": 1, "b": 2, "c": 3, "d": 4, "ünï": 5}
    for task in TASKS:
        shown = json.loads(streammeta("tasks", "show", task, "--state", group, "--format", "json").stdout)
        assert shown["task"] == task
    assert streammeta("tasks", "show", "e", "--state", group).exit_code != 0


def test_ranks_apart_are_no_state(streammeta: Invoke, group: Path) -> None:
    """A rank that lost its state to an older one is told, not averaged."""
    write(directory_of(group, 1), checkpoint_of(standing=standing(1, 2, 4, 5, closed=1, united=1)), {})
    done = streammeta("tasks", "list", "--state", group)
    assert (done.exit_code, "rank 1 has closed round 1" in done.stderr) == (65, True)


def test_copies_of_one_round(streammeta: Invoke, group: Path) -> None:
    """Made of all ranks, listed by round, put back together; of different rounds none is made."""
    made = streammeta("checkpoint", "create", "--state", group)
    assert (made.exit_code, "all of round 3" in made.stdout) == (0, True), made.stderr
    facts = json.loads(streammeta("checkpoint", "verify", "--state", group, "--format", "json").stdout)
    assert (facts["ranks"], facts["round"], facts["events"], facts["tasks"]) == (2, 3, 15, 5)
    write(directory_of(group, 1), checkpoint_of(standing=standing(1, 2, 4, 5, closed=1, united=1)), {})
    refused = streammeta("checkpoint", "create", "--state", group)
    assert (refused.exit_code, "rank 1 has closed round 1" in refused.stderr) == (65, True)
    (listed,) = json.loads(streammeta("checkpoint", "list", "--state", group, "--format", "json").stdout)
    assert (listed["round"], listed["events"], listed["tasks"]) == (3, 15, 5)
    restored = streammeta("checkpoint", "restore", "--state", group)
    assert (restored.exit_code, "go on from round 3" in restored.stdout) == (0, True), restored.stderr
    assert (
        json.loads(streammeta("checkpoint", "verify", "--state", group, "--format", "json").stdout) == facts
    )


def test_a_killed_restore_is_finished(
    streammeta: Invoke, group: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One rank put back, another not: they do not belong together, which is told; the next try mends it."""
    assert streammeta("checkpoint", "create", "--state", group).exit_code == 0
    for rank in (0, 1):
        later = standing(rank, 2, 4, 5, closed=5, united=5)
        write(directory_of(group, rank), checkpoint_of(standing=later), {})
    restore, calls = copies.restore, list[StateDirectory]()

    def killed(directory: StateDirectory, events: int | None = None) -> copies.Restored:
        calls.append(directory)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return restore(directory, events)

    with monkeypatch.context() as patch:
        patch.setattr(copies, "restore", killed)
        streammeta("checkpoint", "restore", "--state", group)
    found = streammeta("checkpoint", "verify", "--state", group)
    assert (found.exit_code, "rank 0 has closed round 3" in found.stderr) == (65, True)
    assert streammeta("checkpoint", "restore", "--state", group).exit_code == 0
    assert "3 round" in streammeta("checkpoint", "verify", "--state", group).stdout


def test_predictions_come_from_the_task_s_rank(streammeta: Invoke, learned: Asked, tmp_path: Path) -> None:
    """Each task as the state of one process answers; a task that nobody knows at meta."""
    words = ("state", "reshard", "--from", learned.path, "--to", tmp_path / "three", "--world", 3)
    assert streammeta(*words, "--partitions", 6).exit_code == 0
    assert len({home_of(tmp_path / "three", task) for task in learned.names}) > 1
    (tmp_path / "lines").write_text('{"x": [[0.5], [-1.0]]}')
    for task in (*learned.names, "nobody"):
        one, three = (
            streammeta("predict", "--state", state, "--task", task, "--input", tmp_path / "lines")
            for state in (learned.path, tmp_path / "three")
        )
        assert (one.exit_code, one.stdout) == (three.exit_code, three.stdout) == (0, one.stdout)


def test_a_group_is_served_as_one(streammeta: Invoke, learned: Asked, tmp_path: Path) -> None:
    """Each task's answer is the single state's, whichever rank knows it; the page shows the tasks of all."""
    words = ("state", "reshard", "--from", learned.path, "--to", tmp_path / "two", "--world", 2)
    assert streammeta(*words, "--partitions", 6).exit_code == 0
    assert len({home_of(tmp_path / "two", task) for task in learned.names}) > 1

    def ask(client: Client) -> tuple[list[Any], int]:
        found = [answer(client, task=task, x=[[0.5], [-1.0]])["y"] for task in (*learned.names, "nobody")]
        return found, client.get("/api/v1/tasks").json()["known"]

    one, two = (served(path, ask) for path in (learned.path, tmp_path / "two"))
    assert one == two
    assert two[1] == len(learned.names)


def test_the_report_is_of_the_group(streammeta: Invoke, learned: Asked, tmp_path: Path) -> None:
    """One page with the tasks of all ranks."""
    words = ("state", "reshard", "--from", learned.path, "--to", tmp_path / "two", "--world", 2)
    assert streammeta(*words, "--partitions", 6).exit_code == 0
    done = streammeta("report", tmp_path / "two", "--output", tmp_path / "run.html")
    assert (done.exit_code, "6 tasks" in done.stderr) == (0, True), done.stderr
