"""From what a program gives (a module, a factory, tables) to the configuration and what it computes with."""

import copy
import re
from collections.abc import Callable, Mapping
from operator import attrgetter
from pathlib import Path
from sys import modules
from typing import Any, Final, NamedTuple

from torch import nn

from streammeta.config import Config, load_config
from streammeta.config.load import config_of_tables
from streammeta.config.values import LOSSES
from streammeta.errors import ConfigError
from streammeta.models.networks import BUILT_IN
from streammeta.runtime.blueprint import config_of
from streammeta.runtime.compiling import traced
from streammeta.state.checkpoint import unpack
from streammeta.state.memory_store import MemoryStore

Model = nn.Module | Callable[..., nn.Module] | str
"""A module, what builds one, or the "package.module:callable" of that."""

UNNAMED: Final = "in_process:model"
"""What a state calls a model that no other process could import."""

_PATH: Final = re.compile(r"[\w.]+:[\w.]+")


class GivenModel(NamedTuple):
    """A model as it was given.

    Attributes:
        name: "package.module:callable", by which a state knows it.
        build: Builds it; None where the name says how.
    """

    name: str
    build: Callable[..., nn.Module] | None = None


def given(model: Model) -> GivenModel:
    """The model with its name: a module is copied as it is now, its parameters the first ones.

    Raises:
        ConfigError: it is none.
    """
    if isinstance(model, str):
        return GivenModel(model)
    if isinstance(model, nn.Module):
        first = copy.deepcopy(model)
        return GivenModel(UNNAMED, lambda: copy.deepcopy(first))
    if not callable(model):
        raise ConfigError(
            f"model: {type(model).__name__} is neither a torch.nn.Module nor what builds one; give a module, "
            'a factory, or "package.module:callable"'
        )
    module, name = getattr(model, "__module__", ""), getattr(model, "__qualname__", "")
    path = f"{module}:{name}"
    if _PATH.fullmatch(path) and _found(module, name) is model:
        return GivenModel(path, model)
    return GivenModel(UNNAMED, model)


def made_config(
    model: GivenModel,
    *,
    args: Mapping[str, Any] | None,
    algorithm: str | Mapping[str, Any],
    inner_lr: float | None,
    outer: str | Mapping[str, Any],
    meta_lr: float | None,
    events: Mapping[str, Any] | None,
    rest: Mapping[str, Mapping[str, Any]],
) -> Config:
    """The configuration of what a program says.

    Args:
        model: The model.
        args: Arguments of its factory.
        algorithm: Its name, or its table with further settings.
        inner_lr: α; None where the table, or the default, tells.
        outer: The outer optimiser's name, or its table.
        meta_lr: η; None where the table, or the default, tells.
        events: Settings of `[events]`.
        rest: Further tables.

    Raises:
        ConfigError: names every problem, each with its setting, the value and the remedy.
    """
    tables: dict[str, dict[str, Any]] = {
        **{name: dict(table) for name, table in rest.items()},
        "algorithm": _table(algorithm, inner_lr=inner_lr),
        "outer": _table(outer, lr=meta_lr),
        "events": dict(events or {}),
    }
    known = {} if args is None else {"args": dict(args)}
    tables["model"] = {"factory": model.name, **known, **tables.get("model", {})}
    return config_of_tables(tables, "Learner")


def config_for(
    held: MemoryStore, config: Config | None, *, named: GivenModel | None, trusted: bool
) -> Config:
    """The configuration for a state: as given, else the state's own, its steps not compiled.

    Raises:
        ConfigError: the state names code to run, and nobody's word counts for it.
        StateError: the state is damaged.
    """
    if config is not None:
        return config
    meta = held.load()
    if meta is None:
        raise AssertionError("a state was read")
    checkpoint = unpack(meta)
    model = checkpoint.origin.fit.get("model", {})
    known = {
        "model": named is not None or model.get("factory") in BUILT_IN,
        "loss": model.get("loss") in LOSSES,
    }
    if not (trusted or all(known.values())):
        code = [
            repr(model.get(key)) for key, name in (("factory", "model"), ("loss", "loss")) if not known[name]
        ]
        raise ConfigError(
            f"the state names code to run: {', '.join(code)}; say whose word counts: model=…, config=…, or "
            "trust_model=True for that of the state"
        )
    return traced(config_of(checkpoint))


def read_config(config: Config | str | Path) -> Config:
    """The configuration, read where it is a file; environment variables count, as for the daemon.

    Raises:
        ConfigError: as `load_config`.
    """
    return config if isinstance(config, Config) else load_config(Path(config))


def _table(named: str | Mapping[str, Any], **settings: float | None) -> dict[str, Any]:
    table = {"name": named} if isinstance(named, str) else dict(named)
    return table | {key: float(value) for key, value in settings.items() if value is not None}


def _found(module: str, name: str) -> object:
    """What the name means where other code would look for it."""
    try:
        return attrgetter(name)(modules[module])
    except (KeyError, AttributeError):
        return None
