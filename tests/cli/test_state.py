"""`streammeta tasks` and `streammeta export`: what they print, and that they never disturb the daemon."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from streammeta.cli.state import SORTS
from streammeta.evaluation.drift import Series
from streammeta.quoting import quoted_line
from tests.cli.conftest import Invoke
from tests.states import TASKS, make_state, row_of


def listed(streammeta: Invoke, state: Path, *options: str) -> list[dict[str, Any]]:
    """The tasks as JSON."""
    done = streammeta("tasks", "list", "--state", state, "--format", "json", *options)
    assert done.exit_code == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def test_json_has_the_promised_keys(streammeta: Invoke, state: Path) -> None:
    """A list of objects; times in RFC 3339, unknown and infinite numbers null."""
    rows = {row["task"]: row for row in listed(streammeta, state)}
    assert rows["a/1"] == {
        "task": "a/1",
        "events": 2,
        "last_seen": "2023-11-14T22:13:20.123+00:00",
        "staleness_events": 0,
        "loss": 1.0,
        "loss_meta": 3.0,
        "loss_adapted": 2.0,
        "loss_memory": 1.0,
        "memory_norm": 0.0,
        "loss_window": None,
        "accuracy": None,
        "forgetting": None,
        "quarantined": False,
        "drifts": 0,
        "drift_event": None,
    }
    assert [rows["ünï"][key] for key in ("loss", "loss_meta", "loss_memory")] == [None, None, None]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("task", ["a/1", "b", "ünï"]),
        ("events", ["b", "a/1", "ünï"]),
        ("loss", ["ünï", "b", "a/1"]),
        ("staleness", ["b", "ünï", "a/1"]),
    ],
)
def test_each_sort(sort: str, expected: list[str], streammeta: Invoke, state: Path) -> None:
    """Most events, worst loss, longest unseen first."""
    assert sort in SORTS
    assert [row["task"] for row in listed(streammeta, state, "--sort", sort)] == expected


def test_a_loss_that_is_no_number_is_the_worst(streammeta: Invoke, tmp_path: Path) -> None:
    """Infinite or unknown: it needs a look, so it comes first."""
    losses = {"x": -5.0, "y": float("nan"), "z": 0.0}
    state = make_state(tmp_path, {task: row_of(1, loss_memory=loss) for task, loss in losses.items()})
    assert [(row["task"], row["loss"]) for row in listed(streammeta, state)] == [
        ("y", None),
        ("z", 0.0),
        ("x", -5.0),
    ]


def test_limit(streammeta: Invoke, tmp_path: Path) -> None:
    """Twenty at first, told on stderr; 0 is all."""
    state = make_state(tmp_path, {f"t{i:02}": row_of(1, events=i + 1) for i in range(30)})
    assert len(listed(streammeta, state)) == 20
    assert len(listed(streammeta, state, "--limit", "0")) == 30
    rows = listed(streammeta, state, "--limit", "2", "--sort", "events")
    assert [row["task"] for row in rows] == ["t29", "t28"]
    text = streammeta("tasks", "list", "--state", state)
    assert text.stderr == "20 of 30 tasks; --limit 0 shows all\n"
    assert len(text.stdout.splitlines()) == 21
    assert streammeta("tasks", "list", "--state", state, "--limit", 0).stderr == ""


def test_text_is_a_table(streammeta: Invoke, state: Path) -> None:
    """A head, a line a task, four digits, a dash for what is unknown."""
    head, *lines = streammeta("tasks", "list", "--state", state).stdout.splitlines()
    assert head.split()[:4] == ["task", "events", "last_seen", "staleness_events"]
    assert [line.split()[0] for line in lines] == ["ünï", "b", "a/1"]
    assert lines[1].split()[1:5] == ["3", "2023-11-14T22:13:20.123+00:00", "4", "8"]
    assert lines[0].split()[4] == "-"


@pytest.mark.parametrize("task", ["evil\nline", "\x1b[31mred", "a\tb", "[bold]x[/bold]"])
def test_a_task_id_steers_no_terminal(task: str, streammeta: Invoke, tmp_path: Path) -> None:
    """Control characters are quoted in the table and kept in JSON; markup is text."""
    state = make_state(tmp_path, {task: row_of(1)})
    text = streammeta("tasks", "list", "--state", state).stdout
    assert len(text.splitlines()) == 2
    assert text.replace("\n", "").isprintable()
    shown = quoted_line(task)
    assert shown in text
    assert listed(streammeta, state)[0]["task"] == task


def test_no_color_is_honoured(streammeta: Invoke, state: Path) -> None:
    """On a terminal the table has styles; with NO_COLOR none of them is a colour."""
    styled = streammeta("tasks", "list", "--state", state, FORCE_COLOR="1", TERM="xterm", NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*(3|4|9|10)[0-7]m", styled.stdout)
    plain = streammeta("tasks", "list", "--state", state)
    assert "\x1b" not in plain.stdout


LONG = "customer/" + "x" * 240


def test_a_task_id_is_never_cut(streammeta: Invoke, tmp_path: Path) -> None:
    """Neither in a pipe, where no width counts, nor on a narrow terminal, which shows fewer columns."""
    state = make_state(tmp_path, {LONG: row_of(1, loss_memory=0.5), "b": row_of(2)})
    piped = streammeta("tasks", "list", "--state", state, COLUMNS="40").stdout
    terminal = {"FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "60"}
    narrow = streammeta("tasks", "list", "--state", state, **terminal).stdout
    assert "memory_norm" in piped
    assert "2023-11-14T22:13:20.123+00:00" in piped
    assert re.sub(r"\x1b\[[0-9;]*m", "", narrow).split()[:4] == ["task", "events", "staleness_events", "loss"]
    for text in (piped, narrow):
        assert LONG in text
        assert len(text.splitlines()) == 3


def test_no_tasks_on_a_narrow_terminal(streammeta: Invoke, tmp_path: Path) -> None:
    """A head alone."""
    state = make_state(tmp_path, {})
    assert streammeta("tasks", "list", "--state", state, FORCE_COLOR="1", COLUMNS="5").exit_code == 0


@pytest.mark.parametrize("time_ms", [2**62, -(2**62)])
def test_a_time_that_no_calendar_has_is_null(time_ms: int, streammeta: Invoke, tmp_path: Path) -> None:
    """A stored state may hold such; the other fields are shown."""
    state = make_state(tmp_path, {"a": row_of(1, last_seen_ms=time_ms)})
    (row,) = listed(streammeta, state)
    assert (row["last_seen"], row["events"]) == (None, 1)


def test_show(streammeta: Invoke, state: Path) -> None:
    """One task: the object of the list, when it was reset, the examples that wait; or a line a field."""
    done = streammeta("tasks", "show", "a/1", "--state", state, "--format", "json")
    more = {"release": None, "reset_after": None, "examples_waiting": 0}
    assert json.loads(done.stdout) == listed(streammeta, state, "--sort", "task")[0] | more
    text = dict(
        line.split(maxsplit=1)
        for line in streammeta("tasks", "show", "ünï", "--state", state).stdout.splitlines()
    )
    assert (text["task"], text["events"], text["loss"]) == ("ünï", "1", "-")


def test_a_task_that_was_reset(streammeta: Invoke, tmp_path: Path) -> None:
    """It is shown with its statistics and the event after which; there is no memory of it to export."""
    row = row_of(1, events=4, reset_after=4)._replace(memory=b"")
    state = make_state(tmp_path / "state", {"a": row, "b": row_of(2)})
    shown = json.loads(streammeta("tasks", "show", "a", "--state", state, "--format", "json").stdout)
    assert (shown["events"], shown["reset_after"]) == (4, 4)
    output = tmp_path / "out.safetensors"
    refused = streammeta("export", "--state", state, "--task", "a", "--output", output)
    assert refused.exit_code == 1
    assert "--task a: it was reset, and not learned from since" in refused.stderr


def test_an_unknown_task_is_named(streammeta: Invoke, state: Path, tmp_path: Path) -> None:
    """Exit 1, no file written, and where to look."""
    shown = streammeta("tasks", "show", "nobody", "--state", state)
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert f"task 'nobody' is not known; see: streammeta tasks list --state {state}" in shown.stderr
    output = tmp_path / "out.safetensors"
    exported = streammeta("export", "--state", state, "--task", "nobody", "--output", output)
    assert exported.exit_code == 1
    assert "--task nobody: not known; see: streammeta tasks list" in exported.stderr
    assert not output.exists()


@pytest.mark.parametrize("verb", [("tasks", "list"), ("tasks", "show", "a"), ("export", "--output", "x")])
def test_no_state_exits_65(verb: tuple[str, ...], streammeta: Invoke, tmp_path: Path) -> None:
    """Nothing is created where nothing is."""
    refused = streammeta(*verb, "--state", tmp_path / "absent")
    assert refused.exit_code == 65
    assert "there is no state here" in refused.stderr
    assert not (tmp_path / "absent").exists()


def test_a_damaged_state_exits_65(streammeta: Invoke, state: Path) -> None:
    """Told with the remedy."""
    (state / "lmdb" / "data.mdb").write_bytes(b"not a database" * 1000)
    refused = streammeta("tasks", "list", "--state", state)
    assert refused.exit_code == 65
    assert "Traceback" not in refused.output


def test_export_writes_what_was_asked_for(streammeta: Invoke, state: Path, tmp_path: Path) -> None:
    """Meta-parameters alone, some memories (each once), or all; the counts go to stderr."""
    output = tmp_path / "out.safetensors"
    meta = {"meta/0.weight", "meta/0.bias"}
    for options, tasks in (
        ([], ()),
        (["--task", "b", "--task", "a/1", "--task", "b"], ("b", "a/1")),
        (["--all-tasks"], TASKS),
    ):
        done = streammeta("export", "--state", state, "--output", output, *options)
        assert (done.exit_code, done.stdout) == (0, "")
        told, note = done.stderr.splitlines()
        assert told == f"{output}: 2 tensors of the model, {len(tasks)} tasks"
        assert "learned parameters alone" in note  # this state was made without constants
        names = {f"task/{task}/{name}" for task in tasks for name in ("0.weight", "0.bias")}
        assert set(load_file(output)) == meta | names


def test_export_to_nowhere_exits_2(streammeta: Invoke, state: Path) -> None:
    """The option is named, with the folder and the way on."""
    refused = streammeta("export", "--state", state, "--output", state / "absent" / "x")
    assert refused.exit_code == 2
    assert "'--output'" in refused.stderr
    assert f"there is no folder {state / 'absent'}; make it" in " ".join(refused.stderr.split())


def test_readers_see_whole_commits_while_a_daemon_writes(streammeta: Invoke, tmp_path: Path) -> None:
    """Each export is one commit: its step, its meta-parameters and its memories belong together."""
    state, output = tmp_path / "state", tmp_path / "out.safetensors"
    command = [sys.executable, "-m", "tests.states", str(state)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as writer:
        assert writer.stdout is not None
        try:
            seen: set[int] = set()
            while len(seen) < 5:
                assert writer.stdout.readline()
                done = streammeta("export", "--state", state, "--all-tasks", "--output", output)
                assert done.exit_code == 0, done.stderr
                with safe_open(output, "numpy") as file:
                    step = int(file.metadata()["step"])
                arrays = load_file(output)
                assert arrays["meta/0.weight"][0, 0] == step
                for task in TASKS:
                    assert arrays[f"task/{task}/0.bias"][0] == step
                seen.add(step)
                rows = listed(streammeta, state)
                assert {row["staleness_events"] for row in rows} == {0}
            assert writer.poll() is None
        finally:
            writer.kill()


def test_drift_is_told_and_sorted_by(streammeta: Invoke, tmp_path: Path) -> None:
    """How often, and at which event last; the last one first, those that never did at the end."""
    rows = {
        "calm": row_of(1),
        "early": row_of(2, drift=Series(detections=2, last_event=10)),
        "late": row_of(3, drift=Series(detections=1, last_event=20)),
    }
    found = listed(streammeta, make_state(tmp_path, rows), "--sort", "drift")
    assert [(row["task"], row["drifts"], row["drift_event"]) for row in found] == [
        ("late", 1, 20),
        ("early", 2, 10),
        ("calm", 0, None),
    ]


def test_help_does_not_wait_for_torch() -> None:
    """What a person reads about these verbs comes without the libraries that read a state."""
    asked = (
        "import sys; from click.testing import CliRunner; from streammeta.cli import main\n"
        "verbs = (['tasks', 'list'], ['export'])\n"
        "answers = [CliRunner().invoke(main, [*verb, '--help']) for verb in verbs]\n"
        "print([answer.exit_code for answer in answers], 'torch' in sys.modules, 'lmdb' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert said.stdout == "[0, 0] False False\n"
