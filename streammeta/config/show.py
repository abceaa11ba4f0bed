"""The effective configuration as text or as plain data: secrets masked, with the source of each value."""

from collections.abc import Iterator
from typing import Any

from streammeta.config.fields import Keys
from streammeta.config.load import Loaded
from streammeta.config.schema import Config
from streammeta.config.secret import masked
from streammeta.config.toml import toml_key, toml_value

COLUMN = 60
"""Where the source comments begin, after shorter settings."""


def as_toml(loaded: Loaded) -> str:
    """TOML, each value followed by where it came from: flag, env, file or default."""
    lines: list[str] = []
    for section, table in document(loaded.config).items():
        lines += [f"[{section}]", *_table(loaded, (section,), table), ""]
    return "\n".join(lines)


def as_data(loaded: Loaded) -> dict[str, Any]:
    """`values`: the configuration as nested tables; `sources`: dotted key -> flag, env, file or default."""
    values = document(loaded.config)
    keys = [(section, key) for section, table in values.items() for key in table]
    return {"values": values, "sources": {".".join(pair): _source(loaded, pair) for pair in keys}}


def document(config: Config) -> dict[str, dict[str, Any]]:
    """The configuration as nested tables, secrets masked."""
    dumped = config.model_dump(mode="json", by_alias=True)
    return {section: masked((section,), table) for section, table in dumped.items()}


def _table(loaded: Loaded, keys: Keys, table: dict[str, Any]) -> Iterator[str]:
    client = None
    for key, value in table.items():
        if (*keys, key) == ("kafka", "client"):
            client = value
        elif value is None:
            yield f"# {key} is not set"
        else:
            source = _source(loaded, (*keys, key))
            yield f"{f'{toml_key(key)} = {toml_value(value)}':<{COLUMN}}  # {source}"
    if client:
        yield "[kafka.client]"
        yield from _table(loaded, ("kafka", "client"), client)


def _source(loaded: Loaded, keys: Keys) -> str:
    kinds = dict.fromkeys(origin.kind for origin in loaded.layers.origins_of(keys))
    return ", ".join(kinds) or "default"
