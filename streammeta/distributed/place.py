"""A rank's place, as `torchrun` (or who else starts ranks) tells it; and the settings that hang on it."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from streammeta.config import Config
from streammeta.errors import ConfigError, StateError

_RANK = "rank-"


class Place(NamedTuple):
    """Which rank of how many; `local`: which of those on this machine."""

    rank: int
    world: int
    local: int = 0


def place_of(environ: Mapping[str, str]) -> Place | None:
    """The place that the environment names; None where nobody started several ranks.

    >>> place_of({"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "1"})
    Place(rank=1, world=4, local=1)
    >>> place_of({"RANK": "1"}) is None
    True
    """
    if any(name not in environ for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")):
        return None
    try:
        rank, world, local = (
            int(environ.get(name, environ["RANK"])) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        )
    except ValueError:
        raise ConfigError(
            f"RANK = {environ['RANK']!r}, WORLD_SIZE = {environ['WORLD_SIZE']!r}: not numbers; start ranks "
            "with torchrun"
        ) from None
    return Place(rank, world, local)


def placed(config: Config, place: Place | None) -> Config:
    """The settings at this place: a directory for each rank, on its machine a port and a GPU of its own.

    Raises:
        ConfigError: there is no such port.
        StateError: the directory holds the state of another number of ranks.
    """
    _check_directory(config.state.dir, place)
    if place is None:
        return config
    port = config.http.port and config.http.port + place.local
    if port > 65535:
        raise ConfigError(f"http.port = {config.http.port}: rank {place.rank} would take {port:,}; take less")
    device = f"cuda:{place.local}" if config.model.device == "cuda" else config.model.device
    return config.model_copy(
        update={
            "state": config.state.model_copy(update={"dir": directory_of(config.state.dir, place.rank)}),
            "http": config.http.model_copy(update={"port": port}),
            "model": config.model.model_copy(update={"device": device}),
        }
    )


def directory_of(base: Path, rank: int) -> Path:
    """Where a rank keeps its state."""
    return base / f"{_RANK}{rank}"


def ranks_in(base: Path) -> list[int]:
    """The ranks that have kept a state there, rising."""
    numbers = (path.name.removeprefix(_RANK) for path in base.glob(f"{_RANK}*") if path.is_dir())
    return sorted(int(number) for number in numbers if number.isdigit())


def _check_directory(base: Path, place: Place | None) -> None:
    found, alone = ranks_in(base), (base / "lmdb").exists()
    world = 1 if place is None else place.world
    if place is None and found:
        held = f"the state of a group of {len(found)}"
    elif place is not None and alone:
        held = "the state of a single process"
    elif found and found[-1] >= world:
        held = f"the state of a group of {found[-1] + 1}"
    else:
        return
    raise StateError(
        f"state.dir = {str(base)!r} holds {held}, this is "
        + ("a process without torchrun" if place is None else f"a group of {world}")
        + f": streammeta state reshard --from {base} --to NEW --world {world} moves it"
    )
