"""Places: what hangs on a rank's number, and directories that belong to another number of ranks."""

from pathlib import Path

import pytest

from streammeta.config import Config
from streammeta.distributed.place import Place, place_of, placed
from streammeta.errors import ConfigError, StateError
from streammeta.stream.share import Share

TORCHRUN = {"RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "h", "MASTER_PORT": "29500"}


def config_in(directory: Path, **settings: object) -> Config:
    """A configuration with its state there."""
    return Config.model_validate({"state": {"dir": str(directory)}, **settings})


def test_a_rank_has_its_directory_its_port_and_its_gpu(tmp_path: Path) -> None:
    """DIR/rank-2; port and GPU by its number on the machine; nothing changes without torchrun."""
    config = config_in(tmp_path, http={"port": 9000}, model={"device": "cuda"})
    here = placed(config, place_of(TORCHRUN))
    assert (here.state.dir, here.http.port, here.model.device) == (tmp_path / "rank-2", 9001, "cuda:1")
    assert placed(config, None) == config


def test_any_free_port_stays_any(tmp_path: Path) -> None:
    """Port 0 is no number to count from; and there are no ports beyond 65,535."""
    assert placed(config_in(tmp_path, http={"port": 0}), Place(3, 4, 3)).http.port == 0
    with pytest.raises(ConfigError, match=r"http\.port = 65534: rank 3 would take 65,537"):
        placed(config_in(tmp_path, http={"port": 65534}), Place(3, 4, 3))


@pytest.mark.parametrize("missing", ["RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"])
def test_half_an_environment_is_no_place(missing: str) -> None:
    """A variable of that name alone may mean anything."""
    assert place_of({name: value for name, value in TORCHRUN.items() if name != missing}) is None


def test_a_place_that_is_no_number_is_refused() -> None:
    """Named, with the remedy."""
    with pytest.raises(ConfigError, match=r"RANK = 'two'.*torchrun"):
        place_of({**TORCHRUN, "RANK": "two"})


@pytest.mark.parametrize(
    ("held", "place", "words"),
    [
        (["lmdb"], Place(0, 2), "holds the state of a single process, this is a group of 2"),
        (["rank-0", "rank-1"], None, "holds the state of a group of 2, this is a process without torchrun"),
        (["rank-0", "rank-3"], Place(0, 2), "holds the state of a group of 4, this is a group of 2"),
    ],
)
def test_a_directory_of_another_group_is_refused(
    held: list[str], place: Place | None, words: str, tmp_path: Path
) -> None:
    """With the command that moves it."""
    for name in held:
        (tmp_path / name).mkdir()
    with pytest.raises(StateError, match=f"{words}: streammeta state reshard --from .* --world"):
        placed(config_in(tmp_path), place)


def test_partitions_are_shared_without_rest() -> None:
    """Every partition is read by one rank; more of them than before, or fewer than ranks, are refused."""
    ranks = [Share(rank, 3) for rank in range(3)]
    assert [share.of(range(8)) for share in ranks] == [[0, 3, 6], [1, 4, 7], [2, 5]]
    with pytest.raises(StateError, match="made with 8 partitions of the topic, now there are 9"):
        ranks[0].of(range(9))
    with pytest.raises(ConfigError, match="2 partitions, which 3 ranks cannot share"):
        Share(0, 3).of(range(2))
    assert Share().of({1, 0}) == [0, 1]
