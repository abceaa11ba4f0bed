"""Which challengers there are, and what each of them is configured with: checked before anything starts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from streammeta.config import Config, load_config
from streammeta.errors import ConfigError

CHAMPION: Final = "champion"
MOST: Final = 4
"""Challengers at once: each is a process, and some series."""
FEED: Final = "feed"
"""The directory of the feed, within the champion's state."""


class Challenger(NamedTuple):
    """A name, the file that configures it, and what comes of it beside the champion."""

    name: str
    path: Path
    config: Config


def challengers_of(champion: Config, paths: Sequence[Path]) -> list[Challenger]:
    """The challengers that these files describe; the name is that of the file.

    Raises:
        ConfigError: one cannot run beside the champion, or beside another; names the file and the remedy.
    """
    if len(paths) > MOST:
        raise ConfigError(f"--shadow: {len(paths)} challengers; at most {MOST} learn beside one champion")
    found = [Challenger(path.stem, path, beside(champion, path)) for path in paths]
    names = {CHAMPION: "the champion"}
    places = {champion.state.dir.resolve(): "the champion"}
    for name, path, config in found:
        if name in names:
            raise ConfigError(
                f"--shadow {path}: {names[name]} has the name {name!r} already; name the file otherwise"
            )
        names[name] = f"--shadow {path}"
        _check_place(path, config.state.dir, places)
        places[config.state.dir.resolve()] = f"--shadow {path}"
    return found


def beside(champion: Config, path: Path) -> Config:
    """What the file says, with the champion's `[kafka]` and `[log]`, and a port of this machine alone.

    Flags and environment are the champion's: they do not speak to a challenger.

    Raises:
        ConfigError: the file is wrong, or means another topic.
    """
    try:
        own = load_config(path, (), {})
    except ConfigError as error:
        raise ConfigError(f"--shadow {path}: {error}") from None
    if own.kafka.topic != champion.kafka.topic:
        raise ConfigError(
            f"--shadow {path}: kafka.topic = {own.kafka.topic!r}, but the champion learns from "
            f"{champion.kafka.topic!r}; a challenger learns from the same records: set it to that"
        )
    http = champion.http.model_copy(update={"host": "127.0.0.1", "port": 0})
    return own.model_copy(update={"kafka": champion.kafka, "log": champion.log, "http": http})


def _check_place(path: Path, directory: Path, places: dict[Path, str]) -> None:
    own = directory.resolve()
    for place, owner in places.items():
        if own == place or own.is_relative_to(place) or place.is_relative_to(own):
            raise ConfigError(
                f"--shadow {path}: state.dir = {str(directory)!r} is that of {owner}, or lies in it, or "
                "holds it; name a directory of its own"
            )
