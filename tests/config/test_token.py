"""The token of the HTTP port: read from its file, or refused."""

from pathlib import Path

import pytest

from streammeta.config.token import read_token
from streammeta.errors import ConfigError


def test_a_token_is_read_from_its_file(tmp_path: Path) -> None:
    """Without the line's end; no file, no token."""
    file = tmp_path / "token"
    file.write_text("  s3cret\n")
    assert read_token(str(file)) == "s3cret"
    assert read_token("") is None


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file or directory"), (b" \n", "is empty"), (b"\xff\xfe\x00", "is not text")],
)
def test_a_token_file_that_holds_none_is_named(content: bytes | None, said: str, tmp_path: Path) -> None:
    """An open port must not come from a typo; the content is not shown."""
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=said) as error:
        read_token(str(file))
    assert str(error.value).startswith(f'http.token_file = "{file}"')


def test_a_folder_is_no_token_file(tmp_path: Path) -> None:
    """Named as the system names it."""
    with pytest.raises(ConfigError, match="Is a directory"):
        read_token(str(tmp_path))
