"""Loss after the same events, and bytes sent, for rounds of 1 to 1,000 events of a rank.

Four ranks, each with the tasks of its partition, learn MOML with Adam; all lengths see the same events in the
same order. Judged is the mean of the ranks' meta-models, as a round would make it there.
No paper's experiment: LocalMOML's question (JMLR 24(145), section 4.3), put to a stream.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch

from streammeta.reproduce.communication.ranks import RANKS, Groups
from streammeta.reproduce.communication.streams import CHANNELS, UNSEEN, drawings, sine_waves
from streammeta.reproduce.report import Curve, Measured, Panel, Progress, Report, Row

LENGTHS: Final = (1, 10, 100, 1000)
"""H: events of a rank in a round."""
LOOKS: Final = 10
EVENTS: Final = {"sinewave": 10_000, "omniglot": 2000}
"""Of a rank."""
SEEDS: Final = 3


def communication(
    progress: Progress,
    *,
    data: Path | None = None,
    streams: Sequence[str] = (*EVENTS,),
    lengths: Sequence[int] = LENGTHS,
    events: int | None = None,
    seeds: int = SEEDS,
    channels: int = CHANNELS,
) -> Report:
    """Each stream with each length of a round; minutes on two cores.

    Args:
        progress: Told now and then.
        data: As for `produce omniglot`.
        streams: Names of `EVENTS`.
        lengths: H.
        events: Of a rank; by default as `EVENTS` says.
        seeds: Of each stream.
        channels: Of the network for Omniglot.

    Raises:
        ConfigError: the drawings cannot be read.
    """
    torch.set_num_threads(1)
    rows, panels, costs = [], [], []
    for name in streams:
        shared = sine_waves(seeds) if name == "sinewave" else drawings(data, channels)
        found, panel = _run(name, Groups(shared, lengths, seeds), lengths, events or EVENTS[name], progress)
        rows += found
        panels.append(panel)
        costs.append(_cost(name, found))
    panels.append(
        Panel("after all events", "MB a rank sends", "loss, in units of the shortest H", costs, x_scale="log")
    )
    return Report(
        "communication",
        f"{RANKS} ranks that unite every H events of each",
        ("loss on unseen tasks", "rounds", "MB a rank sends"),
        "sd over seeds",
        rows,
        panels,
        (f"loss: of {UNSEEN} unseen tasks after adaptation, at the mean of the ranks' meta-models",),
    )


def _run(
    name: str, groups: Groups, lengths: Sequence[int], events: int, progress: Progress
) -> tuple[list[Row], Panel]:
    curves: list[list[Measured]] = [[] for _ in lengths]
    at = []
    for done in groups.learn(events):
        if done % max(1, events // LOOKS) == 0:
            progress(name, done, events)
            at.append(done * RANKS)
            for place, curve in enumerate(curves):
                curve.append(Measured.over(groups.losses(place)))
    rows, drawn = [], []
    for length, curve in zip(lengths, curves, strict=True):
        rounds = events // length
        megabytes = rounds * groups.size_bytes / 1e6
        setting = f"{events * RANKS:,} events, H = {length:,}"
        rows.append(Row(name, setting, (curve[-1], Measured(rounds), Measured(megabytes))))
        spread = [one.spread or 0.0 for one in curve]
        drawn.append(Curve(f"H = {length:,}", at, [one.mean for one in curve], spread))
    return rows, Panel(name, "events of all ranks", "loss on unseen tasks", drawn, y_scale="log")


def _cost(name: str, rows: Sequence[Row]) -> Curve:
    """The last losses of a stream against what was sent, in units of the first."""
    losses, _, megabytes = zip(*(row.measured for row in rows if row.measured[1].mean), strict=True)
    unit = losses[0].mean
    spread = [(loss.spread or 0.0) / unit for loss in losses]
    return Curve(name, [sent.mean for sent in megabytes], [loss.mean / unit for loss in losses], spread)
