"""The bearer token of the HTTP port, from its file."""

from pathlib import Path

from streammeta.errors import ConfigError


def read_token(path: str) -> str | None:
    """The token in the file at `path`; None where no file is named.

    Raises:
        ConfigError: the file cannot be read, or holds none; its content is not shown.
    """
    if not path:
        return None
    try:
        token = Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(
            f'http.token_file = "{path}": {error.strerror}; name a file with a token'
        ) from error
    except UnicodeDecodeError:
        raise ConfigError(f'http.token_file = "{path}" is not text; write a token into it') from None
    if not token:
        raise ConfigError(f'http.token_file = "{path}" is empty; write a token into it')
    return token
