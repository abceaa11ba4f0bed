"""`--format` and `--state`: one name for one thing; the former name goes on for a version, and says so."""

import json
from pathlib import Path

from tests.cli.conftest import Invoke


def test_the_former_name_warns_and_means_the_same(streammeta: Invoke, state: Path) -> None:
    """Data stay on standard output alone."""
    now = streammeta("tasks", "list", "--state", state, "--format", "json")
    before = streammeta("tasks", "list", "--state", state, "--output", "json")
    assert json.loads(before.stdout) == json.loads(now.stdout)
    assert now.stderr == ""
    assert before.stderr == "--output json is now --format json; the old name goes with the next version\n"
    text = streammeta("tasks", "list", "--state", state, "--output", "text")
    assert text.stdout == streammeta("tasks", "list", "--state", state).stdout
    assert "--format table" in text.stderr


def test_the_new_name_counts_where_both_are_given(streammeta: Invoke, state: Path) -> None:
    """In either order."""
    both = ["--format", "json"], ["--output", "text"]
    for words in (both[0] + both[1], both[1] + both[0]):
        json.loads(streammeta("tasks", "list", "--state", state, *words).stdout)


def test_a_configuration_names_the_state(streammeta: Invoke, state: Path, tmp_path: Path) -> None:
    """Wherever a state is read; `--state` counts where both are given."""
    file = tmp_path / "learner.toml"
    file.write_text(f'[state]\ndir = "{state}"\n')
    named = streammeta("tasks", "list", "--config", file)
    assert named.exit_code == 0, named.stderr
    assert named.stdout == streammeta("tasks", "list", "--state", state).stdout
    for words in (
        ["--config", file, "--state", tmp_path / "no"],
        ["--state", tmp_path / "no", "--config", file],
    ):
        refused = streammeta("tasks", "list", *words)
        assert refused.exit_code == 65
        assert "no" in refused.stderr


def test_neither_is_a_usage_error_with_the_way_on(streammeta: Invoke) -> None:
    """Both names are in it."""
    refused = streammeta("tasks", "list")
    assert refused.exit_code == 2
    assert "Missing option '--state' (or --config F, whose state.dir is meant)" in refused.stderr


def test_short_forms_of_settings(streammeta: Invoke, tmp_path: Path) -> None:
    """`--state` and `--log-level` are over the file, as `--set` is, whatever is in the path."""
    file = tmp_path / "learner.toml"
    file.write_text('[state]\ndir = "elsewhere"\n[log]\nlevel = "error"\n')
    odd = tmp_path / 'a "b" \\ ü'
    words = ["config", "show", "--config", file, "--state", odd, "--log-level", "debug", "--format", "json"]
    shown = json.loads(streammeta(*words).stdout)["values"]
    assert (shown["state"]["dir"], shown["log"]["level"]) == (str(odd), "debug")
