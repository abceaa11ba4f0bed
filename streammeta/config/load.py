"""The configuration of a run: flag > environment > file > default, checked whole, refused whole.

All problems are told in one `ConfigError`; no message ever holds the value of a secret.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from streammeta.config.layers import (
    Assignment,
    Layers,
    from_environment,
    from_file,
    from_flag,
    from_tables,
    misnamed,
)
from streammeta.config.problems import problems_of, together
from streammeta.config.schema import Config
from streammeta.errors import ConfigError


class Loaded(NamedTuple):
    """A configuration, and where each value of it came from."""

    config: Config
    layers: Layers


def load_config(
    path: Path | None, overrides: Sequence[str] = (), environ: Mapping[str, str] = os.environ
) -> Config:
    """The effective configuration.

    Args:
        path: A TOML file; None for none.
        overrides: Texts of `--set`, each section.key=VALUE: a TOML literal or bare text. The last one wins.
        environ: Variables; those named STREAMMETA_SECTION__KEY are read, in the same form.

    Raises:
        ConfigError: names every problem, each with its origin, the setting, the value and the remedy.
    """
    return load(path, overrides, environ).config


def load(path: Path | None, overrides: Sequence[str] = (), environ: Mapping[str, str] = os.environ) -> Loaded:
    """As `load_config`, with the origins."""
    return _validated(Layers(_assignments(path, overrides, environ)))


def config_of_tables(tables: Mapping[str, Any], label: str) -> Config:
    """The configuration that a program gives, section by section; neither file nor environment counts.

    Raises:
        ConfigError: as `load_config`; `label` is named as the origin.
    """
    return _validated(Layers(from_tables(tables, label))).config


def _validated(layers: Layers) -> Loaded:
    try:
        return Loaded(Config.model_validate(layers.document), layers)
    except ValidationError as error:
        # Not chained: pydantic's own text holds the refused values, secrets too.
        raise together(problems_of(error, layers)) from None


def _assignments(path: Path | None, overrides: Sequence[str], environ: Mapping[str, str]) -> list[Assignment]:
    assignments: list[Assignment] = []
    problems: list[str] = []
    try:
        assignments += from_file(path) if path else []
    except ConfigError as error:
        problems.append(str(error))
    assignments += from_environment(environ)
    problems += misnamed(environ)
    for text in overrides:
        try:
            assignments.append(from_flag(text))
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise together(problems)
    return assignments
