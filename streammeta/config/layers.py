"""Where settings come from: the file, the environment, `--set` flags; later layers replace earlier ones.

A layer is a list of assignments. Nothing is judged here but whether the text can be read at all; every
problem is collected, so that all are told together.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from streammeta.config import kafka_client
from streammeta.config.fields import Keys, fields, sections, settings, takes_text, variants
from streammeta.errors import ConfigError

PREFIX = "STREAMMETA_"


class Origin(NamedTuple):
    """What kind of layer a value came from, and how a person finds it there."""

    kind: Literal["file", "env", "flag"]
    label: str


class Assignment(NamedTuple):
    """One value, where it stands and where it came from."""

    keys: Keys
    value: Any
    origin: Origin


def from_file(path: Path) -> list[Assignment]:
    """The settings of a TOML file.

    Raises:
        ConfigError: the file is missing, cannot be read, or is not TOML (names line and column).
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such file; write one with `streammeta config init --output {path}`"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    try:
        document = tomllib.loads(text.removeprefix("\ufeff"))
        return list(_leaves((), document, Origin("file", str(path))))
    except RecursionError:
        raise ConfigError(f"{path}: broken TOML: tables or arrays are nested too deep") from None
    except ValueError as error:  # TOMLDecodeError, or a number of thousands of digits
        end = f"line {len(text.splitlines())}, the end of the file"
        reason = str(error).replace("end of document", end)
        raise ConfigError(f"{path}: broken TOML: {reason}") from error


def from_tables(tables: Mapping[str, Any], label: str) -> list[Assignment]:
    """The settings that a program gives, section by section; `label` names it."""
    return list(_leaves((), dict(tables), Origin("flag", label)))


def from_environment(environ: Mapping[str, str]) -> list[Assignment]:
    """The settings of variables STREAMMETA_SECTION__KEY, upper or lower case.

    Other variables that begin with STREAMMETA_ mean something else: Kubernetes makes
    STREAMMETA_PORT for a service of that name. `misnamed` finds those that were meant as settings.
    """
    found = []
    for variable in sorted(environ):
        keys = tuple(variable.removeprefix(PREFIX).lower().split("__"))
        if variable.startswith(PREFIX) and len(keys) > 1:
            value = text_value(keys, environ[variable])
            found.append(Assignment(keys, value, Origin("env", f"environment {variable}")))
    return found


def misnamed(environ: Mapping[str, str]) -> list[str]:
    """A refusal for each variable STREAMMETA_SECTION_KEY of a known setting: one underscore is missing."""
    known = {f"{s.section}_{s.key}".upper(): f"{s.section}__{s.key}".upper() for s in settings()}
    problems = []
    for variable in sorted(environ):
        name = variable.removeprefix(PREFIX).upper()
        meant = name.replace("_", "__", 2) if name.startswith("KAFKA_CLIENT_") else known.get(name)
        # Kubernetes makes STREAMMETA_HTTP_PORT=tcp://… for a service named streammeta-http.
        kubernetes = environ[variable].startswith(("tcp://", "udp://", "sctp://"))
        if variable.startswith(PREFIX) and "__" not in name and meant and not kubernetes:
            problems.append(
                f"environment {variable}: has no effect; write {PREFIX}{meant}, with two underscores"
            )
    return problems


def from_flag(text: str) -> Assignment:
    """The setting of one `--set section.key=VALUE`.

    Raises:
        ConfigError: it is not of that form. The text is not repeated, it may hold a secret.
    """
    name, equals, value = text.partition("=")
    keys = tuple(part.strip() for part in name.split("."))
    if not equals or len(keys) < 2 or not all(keys):
        raise ConfigError("--set: write section.key=VALUE, as in --set kafka.topic=tasks")
    return Assignment(keys, text_value(keys, value), Origin("flag", f"--set {'.'.join(keys)}"))


class Layers:
    """All assignments as one document, and the origin of each value in it."""

    def __init__(self, assignments: Sequence[Assignment]) -> None:
        self.document: dict[str, Any] = {}
        self.origins: dict[Keys, Origin] = {}
        for assignment in assignments:
            self._assign(assignment)

    def _assign(self, assignment: Assignment) -> None:
        keys = assignment.keys
        related = [other for other in self.origins if _is_prefix(keys, other) or _is_prefix(other, keys)]
        for other in related:
            del self.origins[other]
        self.origins[keys] = assignment.origin
        table = self.document
        for key in keys[:-1]:
            if not isinstance(table.get(key), dict):
                table[key] = {}
            table = table[key]
        table[keys[-1]] = assignment.value

    def origins_of(self, keys: Keys) -> list[Origin]:
        """Where the value at `keys`, or the values below it, came from; empty for a default."""
        found = [
            at for other, at in self.origins.items() if _is_prefix(keys, other) or _is_prefix(other, keys)
        ]
        return list(dict.fromkeys(found))


def text_value(keys: Keys, text: str) -> Any:
    """What text from outside a file means: a TOML literal, or the bare text where the setting is text.

    >>> text_value(("http", "port"), "80"), text_value(("kafka", "topic"), "80")
    (80, '80')
    """
    literal = _literal(text)
    if isinstance(literal, str):
        return literal
    wanted = (bool, int, float, list, dict)
    return literal if isinstance(literal, wanted) and not _is_text(keys) else text


def _literal(text: str) -> Any:
    try:
        document = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # also a number of thousands of digits
        return None
    return document["value"] if len(document) == 1 else None


def _is_text(keys: Keys) -> bool:
    if keys[:2] == ("kafka", "client") and len(keys) == 3:
        return kafka_client.takes_text(keys[2])
    if len(keys) != 2 or keys[0] not in sections():
        return False
    found = [fields(model).get(keys[1]) for model in variants(keys[0]).values()]
    return any(takes_text(field) for field in found if field)


def _leaves(keys: Keys, value: Any, origin: Origin) -> Iterator[Assignment]:
    if isinstance(value, dict) and (value or not keys):
        for key, inner in value.items():
            yield from _leaves((*keys, key), inner, origin)
    else:
        yield Assignment(keys, value, origin)


def _is_prefix(short: Keys, long: Keys) -> bool:
    return long[: len(short)] == short
