"""Recording rules and alerts, by Prometheus's own tool, and their runbook."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from streammeta.dashboards.bundle import HERE
from tests.deploy.expressions import RULE_FILES, alerts

UNIT_TESTS = Path(__file__).parent / "rules" / "alerts.test.yaml"
WANTED = (
    "Stalled",
    "Refused",
    "HeldBack",
    "LagGrowing",
    "LossDiverging",
    "DriftDetected",
    "ManyTasksDrift",
    "NonFinite",
    "DeadLetters",
    "CheckpointStale",
    "RestoreSlow",
    "ChallengerStuck",
)


def promtool(*arguments: object) -> None:
    """Run it; it must find nothing to say against them."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool (package prometheus) is not installed")
    run = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_rules_are_valid() -> None:
    """Syntax and lint."""
    promtool("check", "rules", "--lint-fatal", *RULE_FILES)


def test_each_alert_fires_in_its_fault_and_clears() -> None:
    """Against made-up series, over hours."""
    promtool("test", "rules", UNIT_TESTS)


def test_each_alert_is_tested_firing_and_silent() -> None:
    """The unit tests name every alert: firing in some test, and silent before and after it."""
    fires: set[str] = set()
    silent: set[str] = set()
    for test in yaml.safe_load(UNIT_TESTS.read_text())["tests"]:
        cases = test["alert_rule_test"]
        times = [bool(case.get("exp_alerts")) for case in cases]
        if any(times):
            assert (times[0], times[-1]) == (False, False), test["name"]
        for case, firing in zip(cases, times, strict=True):
            (fires if firing else silent).add(case["alertname"])
    assert (
        fires == silent == {alert["alert"] for alert in alerts()} == {f"Streammeta{name}" for name in WANTED}
    )


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_each_alert_says_what_to_do(alert: dict[str, dict[str, str]]) -> None:
    """A severity, a summary, a description, and a runbook line that leads to a chapter of the runbook."""
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert set(alert["annotations"]) == {"summary", "description", "runbook", "runbook_url"}
    place, _, first_step = alert["annotations"]["runbook"].partition(": ")
    assert place == f"runbook.md#{str(alert['alert']).lower()}"
    assert alert["annotations"]["runbook_url"].endswith(f"/runbook#{str(alert['alert']).lower()}")
    assert first_step.endswith(".")
    chapter = (HERE / "prometheus" / "runbook.md").read_text().partition(f"\n## {alert['alert']}\n")[2]
    chapter = chapter.partition("\n## ")[0]
    for part in ("**Means.**", "**Look at.**", "**Do.**"):
        assert part in chapter
