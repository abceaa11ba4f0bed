"""What may learn beside a champion is told before anything starts."""

from pathlib import Path

import pytest

from streammeta.config import Config
from streammeta.errors import ConfigError
from streammeta.programs.challengers.plan import MOST, challengers_of


def champion(folder: Path) -> Config:
    """With a state, and a broker behind a login."""
    return Config.model_validate(
        {
            "kafka": {"topic": "t", "bootstrap_servers": "broker:1", "client": {"sasl_plain_password": "x"}},
            "state": {"dir": folder / "champion"},
            "http": {"host": "::1", "port": 9999},
            "log": {"level": "error"},
        }
    )


def file(path: Path, text: str = "", topic: str = "t") -> Path:
    """A configuration; its state is beside it."""
    state = f"[state]\ndir = '{path.with_suffix('')}'\n" if "[state]" not in text else ""
    path.write_text(f"[kafka]\ntopic = '{topic}'\n{state}{text}")
    return path


def test_a_challenger_has_its_own_learner_and_the_champions_broker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flags and environment are the champion's; kafka and log too; its port is on this machine alone."""
    monkeypatch.setenv("STREAMMETA_STATE__DIR", str(tmp_path / "champion"))
    path = file(tmp_path / "b.toml", "[algorithm]\nname = 'maml'\n[log]\nlevel = 'debug'\n")
    (found,) = challengers_of(champion(tmp_path), [path])
    assert (found.name, found.config.algorithm.name) == ("b", "maml")
    assert found.config.kafka == champion(tmp_path).kafka
    assert found.config.log.level == "error"
    assert (found.config.http.host, found.config.http.port) == ("127.0.0.1", 0)
    assert found.config.state.dir == tmp_path / "b"


@pytest.mark.parametrize(
    ("name", "text", "topic", "words"),
    [
        ("a", "", "other", "kafka.topic = 'other'"),
        ("a", "[state]\ndir = 'champion'\n", "t", "that of the champion"),
        ("a", "[state]\ndir = 'champion/inner'\n", "t", "lies in it"),
        ("a", "[state]\ndir = '.'\n", "t", "holds it"),
        ("champion", "[state]\ndir = 'else'\n", "t", "the name 'champion' already"),
        ("a", "[algorithm]\nname = 'moml'\nbetta = 1\n", "t", "did you mean 'beta'?"),
    ],
)
def test_what_cannot_run_beside_it_is_refused(
    name: str, text: str, topic: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 78, with the file and the remedy."""
    monkeypatch.chdir(tmp_path)
    path = file(tmp_path / f"{name}.toml", text, topic)
    with pytest.raises(ConfigError, match="--shadow") as refused:
        challengers_of(champion(tmp_path), [path])
    assert words in str(refused.value)


def test_challengers_are_told_apart_and_few(tmp_path: Path) -> None:
    """Two of one name, two in one directory, more than the page has room for."""
    (tmp_path / "inner").mkdir()
    one, same = file(tmp_path / "a.toml"), file(tmp_path / "inner" / "a.toml")
    with pytest.raises(ConfigError, match="has the name 'a' already"):
        challengers_of(champion(tmp_path), [one, same])
    shared = file(tmp_path / "b.toml", f"[state]\ndir = '{tmp_path / 'a'}'\n")
    with pytest.raises(ConfigError, match="is that of --shadow"):
        challengers_of(champion(tmp_path), [one, shared])
    many = [file(tmp_path / f"{number}.toml") for number in range(MOST + 1)]
    assert len(challengers_of(champion(tmp_path), many[:MOST])) == MOST
    with pytest.raises(ConfigError, match="at most"):
        challengers_of(champion(tmp_path), many)
