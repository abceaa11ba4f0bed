"""`streammeta replay`: what is told, drawn and refused."""

import json
import random
import re
from itertools import islice
from pathlib import Path

import pytest

from streammeta.datasets.sinusoid import Sinusoids, sinusoid
from streammeta.events import Record
from streammeta.sending.messages import messages
from tests.cli.conftest import Invoke
from tests.recording.samples import TOPIC, stream, write

MODEL = "--set=model.args.sizes=[1,4,1]"


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Sixty events of sinusoids, and one that cannot be read; two parts and a spool."""
    made = messages(islice(sinusoid(Sinusoids(tasks=5, shots=3, query=3)), 60), "msgpack")
    rows = [
        Record(TOPIC, n % 2, n // 2, 1000 * n, m.key, m.value, tuple(m.headers)) for n, m in enumerate(made)
    ]
    rows.append(Record(TOPIC, 0, 30, 60_000, b"sinusoid/0", b"broken"))
    return write(tmp_path / "recording", rows[:20], rows[20:40], spooled=rows[40:])


def test_learning_from_it(recording: Path, tmp_path: Path, streammeta: Invoke) -> None:
    """The summary tells events, refusals and losses; a second replay of the same has nothing to do."""
    state = f"--set=state.dir={tmp_path / 'state'}"
    told = streammeta("replay", recording, MODEL, state)
    assert told.exit_code == 0, told.output
    assert "replayed 100%: 60 events learned, 1 refused (undecodable 1)" in told.stdout
    assert "prequential loss after one adaptation:" in told.stdout
    again = json.loads(streammeta("replay", recording, MODEL, state, "--format", "json").stdout)
    assert (again["outcomes"]["learned"], again["events"], again["replayed"]) == (0, 60, 1.0)


def test_the_summary_tells_accuracy_and_forgetting(tmp_path: Path, streammeta: Invoke) -> None:
    """Of a classifier whose tasks keep earlier query sets: at the end, and beside another configuration."""
    rows = []
    for n in range(60):
        kind, draws = n % 3, random.Random(n)
        x = [[draws.gauss(1.0 if i % 2 else -1.0, 0.3)] for i in range(4)]
        sets = {"x": x, "y": [(i + kind) % 2 for i in range(4)]}
        value = json.dumps({"support": sets, "query": sets}).encode()
        rows.append(Record(TOPIC, 0, n, n, b"kind-%d" % kind, value))
    recording = write(tmp_path / "recording", rows)
    config = tmp_path / "classes.toml"
    config.write_text(
        '[model]\nargs = { sizes = [1, 4, 2] }\nloss = "cross_entropy"\n'
        f'[events]\nforgetting_sets = 2\n[state]\ndir = "{tmp_path / "state"}"\n'
    )
    told = streammeta("replay", recording, "--config", config).stdout
    assert re.search(
        r"accuracy at the task's memory: [01]\.\d{3} at the end, [01]\.\d{3} over the last 1,000 events", told
    )
    assert re.search(r"own earlier query sets: [\d.]+, [+-][\d.e-]+ since they were learned from", told)
    (row,) = json.loads(streammeta("replay", recording, "--compare", config, "--format", "json").stdout)
    status = json.loads(streammeta("replay", recording, "--config", config, "--format", "json").stdout)
    assert status["events"] == row["events"] == 60
    assert 0.0 <= row["accuracy_memory"] <= 1.0
    assert row["forgetting"] is not None
    table = streammeta("replay", recording, "--compare", config).stdout
    assert "accuracy meta" in table
    assert "forgetting" in table


def test_one_task_alone(recording: Path, tmp_path: Path, streammeta: Invoke) -> None:
    """Its events and no others, within the bounds."""
    chosen = ["--task", "sinusoid/1", "--from", "1970-01-01T00:00:20Z", "--to", "25"]
    told = streammeta("replay", recording, MODEL, f"--set=state.dir={tmp_path / 'state'}", *chosen)
    assert told.exit_code == 0, told.output
    listed = streammeta("tasks", "list", "--state", tmp_path / "state", "--format", "json")
    (row,) = json.loads(listed.stdout)
    plan = json.loads(streammeta("replay", recording, *chosen, "--dry-run", "--format", "json").stdout)
    assert (row["task"], row["events"]) == ("sinusoid/1", plan["records"])
    assert 0 < plan["records"] < plan["of"] == 61


def test_a_dry_run_tells_and_does_nothing(tmp_path: Path, streammeta: Invoke) -> None:
    """Counts, ranges, and how long it would take on a topic."""
    directory = write(tmp_path / "recording", stream(100), spooled=stream(20, begin=100))
    told = streammeta(
        "replay", directory, "--dry-run", "--to-kafka", "x", "--speed", "10", "--format", "json"
    )
    plan = json.loads(told.stdout)
    assert (plan["records"], plan["seconds"], plan["partitions"]) == (120, 11.9, {"0": 40, "1": 40, "2": 40})
    assert (plan["first"], plan["last"]) == ("1970-01-01T00:00:00.000+00:00", "1970-01-01T00:01:59.000+00:00")
    assert "records     120" in streammeta("replay", directory, "--dry-run").stdout


def test_configurations_side_by_side(recording: Path, tmp_path: Path, streammeta: Invoke) -> None:
    """A row each, and a picture; the same configuration twice has the same losses."""
    pytest.importorskip("matplotlib")
    files = [tmp_path / "moml.toml", tmp_path / "again.toml", tmp_path / "maml.toml"]
    for file in files:
        name = "maml" if file.stem == "maml" else "moml"
        file.write_text(f'[model]\nargs = {{ sizes = [1, 4, 1] }}\n[algorithm]\nname = "{name}"\n')
    plot = tmp_path / "losses.png"
    told = streammeta("replay", recording, "--compare", *files, "--plot", plot, "--format", "json")
    assert told.exit_code == 0, told.output
    first, again, maml = json.loads(told.stdout)
    assert first["loss_memory"] == again["loss_memory"] != maml["loss_meta"]
    assert maml["loss_memory"] is None
    assert [row["events"] for row in (first, again, maml)] == [60, 60, 60]
    assert plot.read_bytes().startswith(b"\x89PNG")
    table = streammeta("replay", recording, "--compare", *files[:2]).stdout
    assert "loss meta" in table
    assert "accuracy" not in table
    assert str(files[1]) in table


def test_a_truncated_part_exits_65(recording: Path, tmp_path: Path, streammeta: Invoke) -> None:
    """Before anything is learned, with its name; the rest is learned when it is left out."""
    part = recording / "part-000001.parquet"
    part.write_bytes(part.read_bytes()[:-1])
    state = f"--set=state.dir={tmp_path / 'state'}"
    refused = streammeta("replay", recording, MODEL, state)
    assert (refused.exit_code, refused.stdout) == (65, "")
    assert "part-000001.parquet cannot be used" in refused.stderr
    assert not (tmp_path / "state").exists()
    told = streammeta("replay", recording, MODEL, state, "--without", part.name)
    assert "40 events learned, 1 refused" in told.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["A.toml"], "--config, or --compare several"),
        (["--compare"], "--compare takes configurations as arguments"),
        (["--to-kafka", "x", "--from-state", "y"], "--from-state does not go with it"),
        (["--speed", "0"], "neither max nor a number above 0"),
        (["--from", "yesterday"], "neither an offset (1200) nor an RFC 3339 time"),
    ],
)
def test_misuse_exits_2(arguments: list[str], said: str, streammeta: Invoke) -> None:
    """What does not go together is told before anything is opened."""
    refused = streammeta("replay", "nowhere", *arguments)
    assert refused.exit_code == 2
    assert said in " ".join(refused.stderr.split())


def test_no_recording_exits_65(tmp_path: Path, streammeta: Invoke) -> None:
    """With the name of what was looked for."""
    refused = streammeta("replay", tmp_path)
    assert refused.exit_code == 65
    assert "holds no recording: manifest.json is not there" in refused.stderr
