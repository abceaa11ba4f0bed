"""`streammeta run` as one rank of several: what cannot be had there is refused before anything begins."""

from pathlib import Path

import pytest

from tests.cli.conftest import Invoke

TORCHRUN = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (("--record", "flight"), 2, "--record: a recording holds no means of ranks"),
        (("--shadow", "{file}"), 2, "--shadow: a challenger would learn from the records of one rank alone"),
        (("--set", "http.port=65535"), 78, "http.port = 65535: rank 1 would take 65,536; take less"),
    ],
)
def test_refused(
    streammeta: Invoke,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    flags: tuple[str, ...],
    code: int,
    words: str,
) -> None:
    """In words, with the exit code of a wrong use or a wrong setting; no directory appears."""
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "challenger.toml"
    file.touch()
    given = [flag.format(file=file) for flag in flags]
    done = streammeta("run", "--set", f"state.dir={tmp_path / 'state'}", *given)
    assert done.exit_code == code, done.stderr
    assert words in " ".join(done.stderr.split())
    assert not (tmp_path / "state").exists()
