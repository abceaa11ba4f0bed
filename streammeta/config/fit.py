"""What a state depends on: the settings that must stay the same for it to be continued.

Each setting is marked where it is defined: learning rates, cache, device, threads, compiled steps (the state
names those that ran), HTTP, logs and addresses may change between runs. One without a mark is part of the
state, so none is left out by oversight.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from streammeta.config.schema import Config
from streammeta.config.secret import masked
from streammeta.config.section import Mark, Section, mark_of
from streammeta.config.toml import toml_value


def fit(config: Config) -> dict[str, Any]:
    """The settings that a state depends on, section by section, as JSON values; without those not set."""
    loose = {Mark.FREE} if config.events.kind == "examples" else {Mark.FREE, Mark.FREE_WHEN_READY}
    tables = {name: _bound(getattr(config, name), loose) for name in type(config).model_fields}
    return {name: table for name, table in tables.items() if table}


def _bound(section: Section, loose: set[Mark]) -> dict[str, Any]:
    """The table without the settings with these marks."""
    free = {name for name, field in type(section).model_fields.items() if mark_of(field) in loose}
    return section.model_dump(mode="json", exclude_none=True, by_alias=True, exclude=free)


def config_hash(config: Config) -> str:
    """SHA-256 of `fit` as canonical JSON, in hexadecimal; equal when there are no `differences`."""
    return hashlib.sha256(_canonical(fit(config)).encode("ascii")).hexdigest()


def differences(stored: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """A line for each setting in which two fits differ; empty when the state can be continued.

    Of another algorithm or optimiser only the name is told: their settings do not compare.

    >>> differences({"algorithm": {"beta": 0.3}}, {"algorithm": {"beta": 0.5}})
    ['algorithm.beta: the state was made with 0.3, the configuration says 0.5']
    """
    lines = []
    for section in dict.fromkeys((*stored, *now)):
        before, after = stored.get(section, {}), now.get(section, {})
        if before.get("name") != after.get("name"):
            before, after = ({"name": table.get("name")} for table in (before, after))
        lines += _table((section,), before, after)
    return lines


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _table(keys: tuple[str, ...], before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    lines = []
    for key in dict.fromkeys((*before, *after)):
        old, new, here = before.get(key), after.get(key), (*keys, key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            lines += _table(here, old, new)
        elif _canonical(old) != _canonical(new):
            lines.append(
                f"{'.'.join(here)}: the state was made with {_shown(here, old)}, "
                f"the configuration says {_shown(here, new)}"
            )
    return lines


def _shown(keys: tuple[str, ...], value: Any) -> str:
    return "nothing" if value is None else toml_value(masked(keys, value))
