"""`streammeta dashboards export`: the bundle, whole, and nobody's file overwritten."""

from pathlib import Path

from streammeta.dashboards.bundle import HERE, files
from tests.cli.conftest import Invoke

KINDS = {
    "grafana/dashboards": 2,
    "grafana/provisioning/dashboards": 1,
    "grafana/provisioning/datasources": 1,
    "prometheus": 3,
}


def test_writes_all_of_it(streammeta: Invoke, tmp_path: Path) -> None:
    """Dashboards, provisioning, rules, alerts and runbook, as the package has them; each is named."""
    target = tmp_path / "new" / "place"
    result = streammeta("dashboards", "export", target)
    assert result.exit_code == 0
    written = [Path(line) for line in result.stdout.splitlines()]
    assert written == [target / name for name in files()]
    for folder, count in KINDS.items():
        assert sum(path.parent == target / folder for path in written) == count, folder
    assert all(path.read_bytes() == (HERE / path.relative_to(target)).read_bytes() for path in written)


def test_a_second_time_changes_nothing(streammeta: Invoke, tmp_path: Path) -> None:
    """What is there and the same is left alone."""
    streammeta("dashboards", "export", tmp_path)
    result = streammeta("dashboards", "export", tmp_path)
    assert (result.exit_code, result.stdout) == (0, "")


def test_a_changed_file_is_kept_unless_forced(streammeta: Invoke, tmp_path: Path) -> None:
    """It is named, nothing is written; with --force it is as the package has it."""
    mine = tmp_path / "prometheus" / "streammeta.alerts.yaml"
    mine.parent.mkdir()
    mine.write_text("groups: []\n")
    result = streammeta("dashboards", "export", tmp_path)
    assert result.exit_code == 78
    assert str(mine) in result.stderr
    assert "--force" in result.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [mine]
    assert streammeta("dashboards", "export", "--force", tmp_path).exit_code == 0
    assert mine.read_bytes() == (HERE / "prometheus" / mine.name).read_bytes()


def test_a_place_that_cannot_be_written_is_named(streammeta: Invoke, tmp_path: Path) -> None:
    """A file where a folder is needed: exit 78, no traceback."""
    (tmp_path / "grafana").write_text("in the way")
    result = streammeta("dashboards", "export", tmp_path)
    assert result.exit_code == 78
    assert str(tmp_path / "grafana") in result.stderr
