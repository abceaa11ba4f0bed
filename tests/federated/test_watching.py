"""What a federation shows while it runs, what its state is to the other verbs, and what is refused."""

import json
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from streammeta.cli import main
from streammeta.config import load_config
from streammeta.errors import ConfigError, StateError
from streammeta.federated.settings import Federation, check_algorithm
from streammeta.runtime.controls import Controls

pytest.importorskip("flwr", reason="flwr is not installed: pip install 'streammeta[federated]'")

from flwr.app import Array, ArrayRecord, Message, RecordDict

from tests.federated.here import Fault, raised, vanished
from tests.federated.runs import plan_of, run, state_in
from tests.serving.served import Client, answer, served


def read(address: str) -> str:
    """What the port answers."""
    with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310 (our own port)
        content: bytes = answer.read()
    return content.decode()


def test_the_port_shows_the_rounds(tmp_path: Path) -> None:
    """Metrics of the daemon and of the rounds, the history, the clients as tasks, the page: while it runs."""
    plan = plan_of(tmp_path, unseen=2, rounds=3, silo=True, beta=0.3, evaluate_every=2)
    seen: dict[str, str] = {}
    addresses: list[str] = []

    def look(message: Message) -> Message:
        for path in ("/metrics", "/api/v1/history", "/api/v1/status", "/api/v1/tasks", "/readyz", "/"):
            seen[path] = read(addresses[0] + path)
        return raised(message)

    faults = {(1, 1): raised, (2, 1): vanished, (0, 2): look}
    report, _ = run(plan, faults=faults, on_serving=addresses.append)
    assert report.dropped == {"failed": 2, "vanished": 1}
    for line in (
        'streammeta_events_total{outcome="learned",topic="federated"} 6.0',
        "streammeta_federated_rounds_total 2.0",
        'streammeta_federated_clients_total{outcome="answered"} 6.0',
        'streammeta_federated_clients_total{outcome="failed"} 1.0',
        'streammeta_federated_clients_total{outcome="vanished"} 1.0',
        'streammeta_federated_nodes{role="testing"} 2.0',
        'streammeta_learning_rate{loop="meta"} 0.02',
        'streammeta_tasks{state="stored"} 4.0',
    ):
        assert line in seen["/metrics"].splitlines(), line
    figures = report.tested[0].figures
    assert f'{{clients="unseen",phase="adapted"}} {figures["unseen"].adapted}' in seen["/metrics"]
    assert f'{{clients="known",phase="memory"}} {figures["known"].memory}' in seen["/metrics"]
    assert 'streammeta_prequential_loss{phase="memory"}' in seen["/metrics"]
    status, tasks = json.loads(seen["/api/v1/status"]), json.loads(seen["/api/v1/tasks"])
    assert (status["events"], status["state"], status["topic"]) == (6, "learning", "federated")
    assert {row["task"] for row in tasks["tasks"]} == {f"sinewave/{place}" for place in range(4)}
    assert json.loads(seen["/api/v1/history"])["events"]["columns"]["events"][-1] == 6
    assert seen["/readyz"].startswith("ready")
    assert "streammeta" in seen["/"]


def test_only_parameters_and_measurements_leave_a_client(tmp_path: Path) -> None:
    """Every answer of a client that keeps a memory: d numbers, its measurements, its name; nothing else."""
    plan = plan_of(tmp_path, silo=True, beta=0.3, rounds=2, unseen=1)
    _, grid = run(plan)
    dimension = state_in(tmp_path).state.params.numel()
    kinds = set()
    for message, reply in grid.sent:
        assert reply is not None
        content = reply.content
        kinds.add(message.metadata.message_type)
        arrays = {name: [*record] for name, record in content.array_records.items()}
        trained = message.metadata.message_type == "train"
        assert arrays == ({"params": ["params"]} if trained else {})
        if trained:
            assert content.array_records["params"]["params"].numpy().shape == (dimension,)
        told = [value for record in content.metric_records.values() for value in record.values()]
        assert all(isinstance(value, float) for value in told)
        assert [*content.config_records] == (["who"] if message.metadata.message_type == "query" else [])
    assert kinds == {"query", "train", "evaluate"}


def test_the_other_verbs_read_its_state(tmp_path: Path) -> None:
    """`tasks list` lists the clients with their losses, `export` writes w; no memory is in the state."""
    run(plan_of(tmp_path, rounds=1, silo=True, beta=0.3))
    told = CliRunner().invoke(main, ["tasks", "list", "--state", str(tmp_path), "--format", "json"])
    assert told.exit_code == 0, told.output
    assert "sinewave/3" in told.output
    file = tmp_path / "w.safetensors"
    told = CliRunner().invoke(main, ["export", "--state", str(tmp_path), "--output", str(file)])
    assert told.exit_code == 0, told.output
    assert file.stat().st_size > 0


@pytest.mark.parametrize("task", ["sinewave/0", "nobody"])
def test_its_state_predicts_and_is_scored(task: str, tmp_path: Path) -> None:
    """From w, for clients as for others: the server has nobody's memory; a support set personalises."""
    run(plan_of(tmp_path, rounds=1, silo=True, beta=0.3))
    lines = [{"x": [[0.5]]}, {"x": [[0.5]], "support": {"x": [[0.1], [0.2]], "y": [[5.0], [6.0]]}}]
    asked = "".join(f"{json.dumps(line)}\n" for line in lines)
    told = CliRunner().invoke(main, ["predict", "--state", str(tmp_path), "--task", task], input=asked)
    assert told.exit_code == 0, told.output
    plain, personal = (json.loads(line) for line in told.stdout.splitlines())
    assert plain["y"] != personal["y"]
    assert (plain["at"], personal["at"]) == ("meta", "adapted")
    scored = CliRunner().invoke(
        main, ["evaluate", "sinusoid", "--state", str(tmp_path), "--episodes", "5", "--format", "json"]
    )
    assert scored.exit_code == 0, scored.output


def test_its_state_is_served(tmp_path: Path) -> None:
    """`serve` answers from w, a support set personalises, and its page lists the clients."""
    run(plan_of(tmp_path, rounds=2, silo=True, beta=0.3))
    support = {"x": [[0.1], [0.2]], "y": [[5.0], [6.0]]}

    def ask(client: Client) -> tuple[dict[str, Any], ...]:
        plain = answer(client, task="sinewave/0", x=[[0.5]])
        personal = answer(client, task="sinewave/0", x=[[0.5]], support=support)
        return plain, personal, client.get("/api/v1/status").json(), client.get("/api/v1/tasks").json()

    plain, personal, status, tasks = served(tmp_path, ask)
    predicted = CliRunner().invoke(
        main, ["predict", "--state", str(tmp_path), "--task", "sinewave/0"], input='{"x": [[0.5]]}'
    )
    assert plain["y"] == json.loads(predicted.stdout)["y"]
    assert (plain["at"], personal["at"]) == ("meta", "adapted")
    assert plain["y"] != personal["y"]
    assert (status["events"], {row["task"] for row in tasks["tasks"]}) == (
        8,
        {f"sinewave/{place}" for place in range(4)},
    )


def test_another_federation_is_not_continued(tmp_path: Path) -> None:
    """The message names what differs, and the state stays as it is."""
    run(plan_of(tmp_path, rounds=1))
    before = state_in(tmp_path)
    others: dict[str, dict[str, float]] = {
        "model.seed": {"seed": 1},
        "fraction 0.5": {"fraction": 0.5},
        "outer.lr 0.01": {"lr": 0.01},
    }
    for words, changed in others.items():
        with pytest.raises(StateError, match=words):
            run(plan_of(tmp_path, rounds=2, **changed))
    assert state_in(tmp_path).positions == before.positions == {0: 1}


def test_told_to_stop_it_gives_up_the_round(tmp_path: Path) -> None:
    """Asked within round 1, which waits for a client: round 0 stands, nothing of round 1 does."""
    controls = Controls()

    def stops(_: Message) -> None:
        controls.stop = True

    report, _ = run(plan_of(tmp_path), faults={(2, 1): stops}, controls=controls)
    assert (report.rounds, report.made, report.tested) == (1, 1, [])
    assert state_in(tmp_path).positions == {0: 1}
    assert state_in(tmp_path).progress.events == 4


def test_an_answer_that_cannot_be_used_is_none(tmp_path: Path) -> None:
    """Parameters of another shape, with NaN, or none at all: the client has dropped out, the others count."""

    def with_arrays(array: Array | None) -> Fault:
        records = RecordDict()
        if array is not None:
            records["params"] = ArrayRecord({"params": array})
        return lambda message: Message(records, reply_to=message)

    plan = plan_of(tmp_path, rounds=1)
    run(plan_of(tmp_path / "first", rounds=1))
    good = state_in(tmp_path / "first").state.params.numpy()
    wrong = [np.zeros(3), np.full_like(good, np.nan), None]
    faults = {(place, 0): with_arrays(None if one is None else Array(one)) for place, one in enumerate(wrong)}
    report, grid = run(plan, faults=faults)
    assert (report.answered, report.dropped) == (1, {"refused": 3})
    (alone,) = (reply for _, place, reply in grid.learned() if place == 3)
    assert alone is not None
    expected = alone.content.array_records["params"]["params"].numpy()
    np.testing.assert_array_equal(state_in(tmp_path).state.params.numpy(), expected)


@pytest.mark.parametrize(
    ("field", "value"), [("fraction", 0), ("fraction", 1.5), ("round_seconds", 0), ("nodes", 0), ("seed", -1)]
)
def test_rounds_out_of_range_are_refused(field: str, value: float) -> None:
    """The message names the field and its value."""
    changed: dict[str, Any] = {field: value}
    with pytest.raises(ConfigError, match=f"{field} = {value}"):
        Federation(**changed)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["algorithm.name=moml"], "algorithm.name = 'moml'"),
        (["algorithm.name=local_moml"], "without momentum"),
        (["algorithm.name=per_fedavg", "outer.name=adam"], 'set outer.name = "sgd"'),
    ],
)
def test_settings_that_no_client_computes_are_refused(settings: list[str], words: str) -> None:
    """The message names the setting and the remedy."""
    with pytest.raises(ConfigError, match=words):
        check_algorithm(load_config(None, settings, {}))
