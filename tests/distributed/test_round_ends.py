"""What ends a round beside its records: the clock, and others that wait for one that has nothing to learn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from streammeta.config import Config
from streammeta.errors import ConfigError
from streammeta.events import Positions, Record
from streammeta.outcomes import Outcome, United
from streammeta.runtime.blueprint import build_blueprint
from streammeta.stream.base import Source
from tests.distributed.meeting import Meeting
from tests.distributed.worlds import alike, config_of, in_step, live, worlds_of
from tests.scripted import ScriptedSource, make_script
from tests.world import LINGER_SECONDS, World, batches_of

MANY = 1000
"""Records of a round that nobody reaches."""


def script() -> list[Record]:
    """Twelve records of each of two partitions."""
    made = make_script(7, partitions=2, tasks=6, events=60, poison=0.0)
    return [one for rank in (0, 1) for one in [r for r in made if r.partition == rank][:12]]


def rounds(told: Sequence[Outcome]) -> list[United]:
    """The rounds that a rank was told of."""
    return [one for one in told if isinstance(one, United)]


def test_the_clock_ends_a_round(tmp_path: Path) -> None:
    """After `round_seconds` with something learned: the same bits as with rounds of so many records."""
    place = 7
    by_clock = worlds_of(script(), 2, tmp_path, config_of(MANY, round_seconds=LINGER_SECONDS))
    by_records = worlds_of(script(), 2, tmp_path, config_of(place))
    by_clock[0].pauses = frozenset({place})
    by_clock[1].script = by_records[1].script = by_clock[1].script[:place]
    told: list[list[Outcome]] = [[], []]
    assert live(by_clock, told=told)
    assert live(by_records)
    assert len(rounds(told[0])) == 2
    assert alike(by_clock, by_records)


def test_without_the_clock_such_a_pause_ends_nothing(tmp_path: Path) -> None:
    """`round_seconds = 0`: records alone, and the end."""
    worlds = worlds_of(script(), 2, tmp_path, config_of(MANY, round_seconds=0.0))
    worlds[0].pauses = frozenset({7})
    told: list[list[Outcome]] = [[], []]
    assert live(worlds, told=told)
    assert [len(rounds(one)) for one in told] == [1, 1]


@dataclass
class Patient(World):
    """A rank whose partitions are empty until something holds."""

    until: Callable[[], bool] = field(default=lambda: True, kw_only=True)

    def _reads_from(self, source: ScriptedSource) -> Source:
        return _Empty(source, self.until)


class _Empty:
    def __init__(self, source: ScriptedSource, until: Callable[[], bool]) -> None:
        self._source, self._until = source, until

    def poll(self, timeout_seconds: float) -> Sequence[Record]:
        return self._source.poll(timeout_seconds) if self._until() else []

    def lag(self, positions: Positions) -> Positions:
        return dict.fromkeys(positions, 0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)


def test_an_idle_rank_takes_part_with_weight_zero(tmp_path: Path) -> None:
    """It holds nobody up, goes on from the others' mean, and weighs again as soon as it learns."""
    meeting, config = Meeting(2), config_of(6)
    first, second = worlds_of(script(), 2, tmp_path, config)
    idle = Patient(second.script, tmp_path, config, until=lambda: 1 in meeting.said.get("round/1", {}))
    told: list[list[Outcome]] = [[], []]
    assert live([first, idle], meeting=meeting, told=told)
    assert [one.weight for one in rounds(told[0])] == [1.0, 0.5, 0.0, 0.0]
    assert [one.weight for one in rounds(told[1])] == [0.0, 0.5, 1.0, 0.0]
    assert rounds(told[1])[0].distance > 0
    assert in_step([first, idle])
    assert idle.checkpoint().progress.events == 12


def test_an_algorithm_whose_states_cannot_unite_is_refused_with_its_reason(tmp_path: Path) -> None:
    """A configuration error before anything is learned; one rank may learn by it."""
    document = batches_of(2).model_dump() | {"algorithm": {"name": "bspiderboost"}}
    config = Config.model_validate(document)
    for ranks in (2, 1):
        world = World(script(), tmp_path, config, learner=build_blueprint(config))
        if ranks == 2:
            with pytest.raises(ConfigError, match="several ranks cannot learn by it, for its gradient estim"):
                world.live(group=Meeting(2).member(0))
            assert not world.rows()
        else:
            assert world.live(group=Meeting(1).member(0))
            assert not torch.equal(world.checkpoint().state.params, build_blueprint(config).network.initial)
