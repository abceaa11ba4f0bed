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
from streammeta.reproduce.communication.streams import UNSEEN, Shared, drawings, sine_waves
from streammeta.reproduce.report import Curve, Measured, Panel, Progress, Report, Row

LENGTHS: Final = (1, 10, 100, 1000)
"""H: events of a rank in a round."""
LOOKS: Final = 10
EVENTS: Final = {"sinewave": 10_000, "omniglot": 2000}
"""Of a rank."""
SEEDS: Final = {"sinewave": 3, "omniglot": 3}


def communication(
    progress: Progress,
    *,
    data: Path | None = None,
    streams: Sequence[str] = (*EVENTS,),
    lengths: Sequence[int] = LENGTHS,
    events: int | None = None,
) -> Report:
    """Each stream with each length of a round; minutes on two cores.

    Args:
        progress: Told now and then.
        data: As for `produce omniglot`.
        streams: Names of `EVENTS`.
        lengths: H.
        events: Of a rank; by default as `EVENTS` says.

    Raises:
        ConfigError: the drawings cannot be read.
    """
    torch.set_num_threads(1)
    rows, panels = [], []
    for name in streams:
        shared = sine_waves(SEEDS[name]) if name == "sinewave" else drawings(data)
        found, panel = _run(name, shared, lengths, events or EVENTS[name], progress)
        rows += found
        panels.append(panel)
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
    name: str, shared: Shared, lengths: Sequence[int], events: int, progress: Progress
) -> tuple[list[Row], Panel]:
    groups = Groups(shared, lengths, SEEDS[name])
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
        label = f"H = {length:,}: {megabytes:,.3g} MB a rank"
        drawn.append(Curve(label, at, [one.mean for one in curve], [one.spread or 0.0 for one in curve]))
    return rows, Panel(name, "events of all ranks", "loss on unseen tasks", drawn, y_scale="log")
