"""Values written as TOML (the standard library only reads it)."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml_value(value: Any) -> str:
    r"""One value on one line; tables inline.

    Raises:
        TypeError: TOML has no such value (None among them).

    >>> toml_value({"sizes": [1, 40.0], "say": 'a "b"\n'})
    '{ sizes = [1, 40.0], say = "a \\"b\\"\\n" }'
    """
    match value:
        case bool():
            return "true" if value else "false"
        case str() | Path():
            return _text(str(value))
        case int() | float():
            return repr(value)
        case list() | tuple():
            return "[" + ", ".join(map(toml_value, value)) + "]"
        case Mapping():
            pairs = ", ".join(f"{toml_key(key)} = {toml_value(inner)}" for key, inner in value.items())
            return f"{{ {pairs} }}" if pairs else "{}"
    raise TypeError(f"TOML cannot hold {value!r}, a {type(value).__name__}")


def toml_key(key: str) -> str:
    """A key, in quotes where it needs them."""
    return key if _BARE.fullmatch(key) else _text(key)


def _text(text: str) -> str:
    # A JSON string is a TOML string but for DEL, and for escapes of more than four digits.
    plain = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else _escape(c) for c in plain)


def _escape(character: str) -> str:
    number = ord(character)
    return f"\\u{number:04x}" if number < 1 << 16 else f"\\U{number:08x}"
