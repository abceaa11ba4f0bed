"""`streammeta config`."""

import json
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streammeta.cli.config import config as command
from streammeta.config import Config
from streammeta.config.template import template
from streammeta.errors import ConfigError


@pytest.fixture(autouse=True)
def no_settings_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own STREAMMETA_ variables do not matter here."""
    import os

    for name in [name for name in os.environ if name.startswith("STREAMMETA_")]:
        monkeypatch.delenv(name)


def run(*arguments: str | Path) -> Result:
    """The command with these arguments."""
    # The help options as the root command hands them down: click keeps the first ones it is asked for.
    names = [str(argument) for argument in arguments]
    return CliRunner().invoke(command, names, help_option_names=["-h", "--help"])


def test_init_prints_the_template() -> None:
    """On standard output, for a pipe."""
    result = run("init")
    assert (result.exit_code, result.stdout) == (0, template())


def test_init_writes_a_file_that_checks(tmp_path: Path) -> None:
    """And overwrites only on demand."""
    file = tmp_path / "learner.toml"
    assert run("init", "--output", file).exit_code == 0
    assert run("check", "--config", file).stdout.endswith("\nok\n")
    file.write_text("mine")
    refused = run("init", "--output", file)
    assert isinstance(refused.exception, ConfigError)
    assert "--force" in str(refused.exception)
    assert file.read_text() == "mine"
    assert run("init", "--output", file, "--force").exit_code == 0
    assert file.read_text() == template()


def test_init_names_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """Instead of a traceback."""
    refused = run("init", "--output", tmp_path / "absent" / "learner.toml")
    assert isinstance(refused.exception, ConfigError)
    assert "No such file or directory" in str(refused.exception)


def test_check_hands_every_problem_to_the_root_command() -> None:
    """The root command shows it and exits 78."""
    refused = run("check", "--set", "http.port=x", "--set", "algorithm.betta=1")
    assert isinstance(refused.exception, ConfigError)
    assert refused.exception.exit_code == 78
    assert str(refused.exception).startswith("2 problems")
    assert refused.stdout == ""


def test_show_gives_values_with_their_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it prints is TOML that means the same; each value says where it came from."""
    file = tmp_path / "learner.toml"
    file.write_text("[http]\nport = 1\n[kafka.client]\nclient_rack = 'a'\n")
    monkeypatch.setenv("STREAMMETA_LOG__LEVEL", "debug")
    text = run("show", "--config", file, "--set", "algorithm.beta=0.5").stdout
    sources = {line.split(" = ")[0]: line.rsplit("# ", 1)[1] for line in text.splitlines() if " = " in line}
    shown = Config.model_validate(tomllib.loads(text))
    assert (shown.http.port, shown.log.level) == (1, "debug")
    assert shown.kafka.client == {"client_rack": "a"}
    kinds = [sources[key] for key in ("port", "level", "beta", "topic", "client_rack")]
    assert kinds == ["file", "env", "flag", "default", "file"]


def test_show_as_json() -> None:
    """Values nested, sources by dotted key, of the same settings."""
    data = json.loads(run("show", "--format", "json", "--set", "http.port=1").stdout)
    assert data["values"]["http"]["port"] == 1
    assert data["sources"]["http.port"] == "flag"
    assert data["sources"]["http.host"] == "default"
    assert data["sources"].keys() == {
        f"{section}.{key}" for section, table in data["values"].items() for key in table
    }


def test_schema_is_the_models_schema() -> None:
    """Every section, nothing else allowed, a description for each setting."""
    schema = json.loads(run("schema").stdout)
    assert list(schema["properties"]) == list(Config.model_fields)
    assert schema["additionalProperties"] is False
    for name, model in schema["$defs"].items():
        for key, setting in model.get("properties", {}).items():
            assert setting.get("description"), f"{name}.{key}"
