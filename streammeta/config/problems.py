"""Refusals for people: where a value came from, its setting, what is allowed, what was probably meant."""

from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from streammeta.config.fields import Keys, fields, sections, settings, table_of, variants
from streammeta.config.layers import Layers
from streammeta.config.secret import shown
from streammeta.config.suggest import did_you_mean, nearest
from streammeta.errors import ConfigError


def together(problems: list[str]) -> ConfigError:
    """One error that tells all problems."""
    if len(problems) == 1:
        return ConfigError(problems[0])
    lines = "".join(f"\n  - {problem}" for problem in problems)
    return ConfigError(f"{len(problems)} problems in the configuration:{lines}")


def problems_of(error: ValidationError, layers: Layers) -> list[str]:
    """A line for each refusal of the models, in the order of the file."""
    details = error.errors(include_url=False, include_context=True)
    # A default that is derived from a refused setting says nothing of its own.
    return [
        line
        for detail in details
        if detail["type"] != "default_factory_not_called"
        for line in _lines(detail, layers)
    ]


def _lines(detail: ErrorDetails, layers: Layers) -> Iterable[str]:
    keys = _keys(detail)
    if detail["type"] in ("kafka_client", "combination"):
        for key, text in detail["ctx"]["problems"]:
            yield f"{_where((*keys, key), layers)}: {text}"
    elif detail["type"] == "extra_forbidden":
        yield f"{_where(keys, layers)}: {_unknown(keys, detail['input'], layers)}"
    else:
        if detail["type"] == "union_tag_invalid":
            keys = (*keys, "name")
        value = _at(keys, layers, detail["input"])
        yield f"{_where(keys, layers)}: {'.'.join(keys)} = {shown(keys, value)}: {_must(detail, value)}"


def _keys(detail: ErrorDetails) -> Keys:
    """The place in the file: pydantic's, less the variant's name that it puts after the table's."""
    keys = tuple(str(key) for key in detail["loc"])
    tagged = keys[0] in sections() and len(variants(keys[0])) > 1
    # Of the arguments only the first level: below it pydantic mixes its own words into the place.
    return keys[:1] + keys[2:] if tagged else keys[:3]


def _where(keys: Keys, layers: Layers) -> str:
    return ", ".join(origin.label for origin in layers.origins_of(keys)) or "default"


def _at(keys: Keys, layers: Layers, otherwise: Any) -> Any:
    value: Any = layers.document
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            return otherwise
        value = value[key]
    return value


def _must(detail: ErrorDetails, value: Any) -> str:
    """What is allowed; for a word, the nearest that is."""
    match detail["type"]:
        case "union_tag_invalid":
            return _choice(value, detail["ctx"]["expected_tags"].replace("'", "").split(", "))
        case "literal_error" if "'" in detail["ctx"]["expected"]:
            return _choice(
                value, detail["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
            )
        case "model_type" | "model_attributes_type" | "dict_type":
            return "must be a table"
        case "value_error":
            return str(detail["ctx"]["error"])
        case "invalid-json-value":
            return "must be text, a number, true or false, an array or a table"
        case "string_too_short":
            return "must not be empty"
        case "is_instance_of" | "path_type":
            return "must be a path, in quotes"
    return detail["msg"].replace("Input should be", "must be").replace("a valid string", "text, in quotes")


def _choice(value: Any, choices: list[str]) -> str:
    listed = f"must be one of {', '.join(choices)}" if len(choices) > 1 else f"must be {choices[0]}"
    return listed + (did_you_mean(value, choices) if isinstance(value, str) else "")


def _unknown(keys: Keys, value: Any, layers: Layers) -> str:
    """An unknown section or key. Its value is never shown: it may be a misspelt secret."""
    if len(keys) > 2:
        return _unknown_inner(keys)
    if len(keys) > 1:
        return _unknown_key(keys[0], keys[1], layers)
    homes = [f"{known.section}.{known.key}" for known in settings() if known.key == keys[0]]
    if homes and not isinstance(value, dict):
        return f"unknown key '{keys[0]}'; did you mean '{homes[0]}'?"
    hint = did_you_mean(keys[0], sections()) or f"; the sections are {', '.join(sections())}"
    return f"unknown section '{keys[0]}'{hint}"


def _unknown_inner(keys: Keys) -> str:
    """An unknown key of a table within a table."""
    outer = [fields(model)[keys[1]] for model in variants(keys[0]).values() if keys[1] in fields(model)]
    known = [key for field in outer for model in (table_of(field),) if model for key in fields(model)]
    hint = did_you_mean(keys[2], known) or f"; the keys are {', '.join(dict.fromkeys(known))}"
    return f"unknown key '{'.'.join(keys)}'{hint}"


def _unknown_key(section: str, key: str, layers: Layers) -> str:
    models = variants(section)
    first = next(iter(models))
    name = str(_at((section, "name"), layers, first))
    current = name if name in models else first
    owners = [name for name, model in models.items() if key in fields(model)]
    if owners:
        *others, last = owners
        listed = f"{', '.join(others)} and {last}" if others else last
        return f"{key} belongs to {section} {listed}, not {current}"
    known = list(fields(models[current]))
    if nearest(key, known):
        return f"unknown key '{section}.{key}'{did_you_mean(key, known)}"
    elsewhere = [f"{other.section}.{key}" for other in settings() if other.key == key]
    hint = f"did you mean '{elsewhere[0]}'?" if elsewhere else f"the keys are {', '.join(known)}"
    return f"unknown key '{section}.{key}'; {hint}"
