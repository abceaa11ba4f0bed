"""Which values are secrets, and how they are hidden wherever configuration is shown."""

import re
from typing import Any

from streammeta.config.secret_shapes import hidden
from streammeta.config.toml import toml_value

MASK = "***"

LONGEST_VALUE = 80
"""Characters of a refused value that are shown."""

_NAME = re.compile(
    r"(password|passwd|passphrase|secret|credentials?)$|(^|[_-])(token|pwd|auth|authorization|bearer|cookie|dsn)$"
    r"|(api|access|private|secret|account|shared|encryption|signing)[_-]?key$|proxy",
    re.IGNORECASE,
)
_TABLES_OF_SECRETS = (("kafka",), ("kafka", "client"))
_FREE = (("kafka", "client"), ("model", "args"))
"""The tables whose keys streammeta does not choose itself."""


def is_secret(keys: tuple[str, ...]) -> bool:
    """Whether the value at `keys` must not be shown; proxies too, whose addresses carry passwords.

    >>> is_secret(("kafka", "client", "sasl_plain_password")), is_secret(("http", "token_file"))
    (True, False)
    """
    if keys in _TABLES_OF_SECRETS:  # reached only by a value that stands where the table should
        return True
    return keys[:2] in _FREE and any(_NAME.search(key) for key in keys[2:])


def masked(keys: tuple[str, ...], value: Any) -> Any:
    """`value` with the secrets in it hidden, also deep inside tables and arrays: by name, else by looks."""
    if isinstance(value, dict):
        return {key: masked((*keys, str(key)), inner) for key, inner in value.items()}
    if is_secret(keys):
        return MASK
    if isinstance(value, list | tuple):
        return [masked(keys, inner) for inner in value]
    if isinstance(value, str) and keys[:2] in _FREE:
        return hidden(value, MASK, keys[-1])
    return value


def shown(keys: tuple[str, ...], value: Any) -> str:
    """`value` as a message shows it: TOML, masked, cut when long."""
    plain = masked(keys, value)
    try:
        text = toml_value(plain)
    except TypeError:  # a date, which no setting takes
        text = str(plain)
    return text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE] + "…"
