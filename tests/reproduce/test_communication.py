"""Convergence against communication, run short: rounds of one event are one process with a batch."""

import pytest
import torch

from streammeta.reproduce.communication.experiment import communication
from streammeta.reproduce.communication.ranks import RANKS, Groups
from streammeta.reproduce.communication.streams import sine_waves
from tests.reproduce.quiet import quiet


def test_longer_rounds_send_less_and_see_the_same_events() -> None:
    """A row a length: rounds and bytes in proportion, the loss finite and not the same for all."""
    report = communication(quiet, streams=("sinewave",), lengths=(1, 5, 100), events=20)
    losses, rounds, megabytes = zip(*[[one.mean for one in row.measured] for row in report.rows], strict=True)
    assert rounds == (20, 4, 0)
    assert megabytes[0] == pytest.approx(5 * megabytes[1])
    assert len({*losses}) == 3
    assert max(losses) < 6
    along, after = report.panels
    assert [curve.x[-1] for curve in along.curves] == [20 * RANKS] * 3
    (cost,) = after.curves
    assert (*cost.x,) == megabytes[:2]
    assert [*cost.y] == [1.0, losses[1] / losses[0]]


def test_ranks_are_in_step_after_a_round_and_apart_within() -> None:
    """After ten events: those that unite every five hold one w, those that never do have four."""
    groups = Groups(sine_waves(1), (5, 100), 1)
    assert [*groups.learn(10)] == [*range(1, 11)]
    often, never = torch.split(groups.params, RANKS)
    assert all(torch.equal(often[0], one) for one in often)
    assert len({tuple(one.tolist()) for one in never}) == RANKS
    assert not torch.allclose(often[0], never.mean(0))
