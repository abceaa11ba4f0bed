"""Learning from the newest records on a copy: the daemon's own loop, its state in memory and forgotten."""

import math
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from streammeta.config import Config
from streammeta.errors import ConfigError, Reason, StreammetaError
from streammeta.events import Record
from streammeta.observe.catalogue import PHASES
from streammeta.outcomes import Learned, Outcome, Refused, Skipped
from streammeta.programs.doctor.check import Check, fault, ok, warning
from streammeta.programs.doctor.content import MOST, Refusals
from streammeta.programs.doctor.sample import Sample
from streammeta.programs.replay import untimed
from streammeta.runtime.assembly import assemble
from streammeta.runtime.blueprint import Blueprint, restore
from streammeta.state.memory_store import MemoryStore
from streammeta.state.order_log import OrderLog
from streammeta.stream.generated import NoDeadLetters
from streammeta.wording import counted

_ENDS: Final = 10
"""Events whose mean is the first, or the last, loss."""
_CLIPS: Final = ("algorithm.inner_clip_norm", "outer.clip_norm")
_GROWTH: Final = 10.0
"""A loss that grows so many times is told."""


@dataclass
class Heard:
    """Observer: what came of the records, learned from on a new state or on a copy."""

    new: bool
    losses: list[tuple[float, float, float]] = field(default_factory=list)
    refusals: Refusals = field(default_factory=Refusals)
    waiting: int = 0

    def __call__(self, outcome: Outcome) -> None:
        """Fold one outcome."""
        match outcome:
            case Learned():
                self.losses += map(tuple, outcome.losses.tolist())
            case Refused():
                self.refusals.add(outcome.partition, outcome.offset, outcome.reason, outcome.message)
            case Skipped():
                self.waiting += 1


def of_learning(config: Config, blueprint: Blueprint, copy: MemoryStore, records: Sequence[Record]) -> Check:
    """Learn from the records, as the configuration says, from what the copy of the state holds.

    They are learned from also where the state contains them already. `copy` is written to; an empty one is a
    new state.
    """
    heard = Heard(new=copy.load() is None)
    try:
        _learn(config, blueprint, copy, records, heard)
    except StreammetaError as error:
        if heard.losses or not heard.refusals.counts:
            return fault("learning", error, **_facts(heard, len(records)))
    return _judged(config, heard, len(records))


def _learn(
    config: Config, blueprint: Blueprint, copy: MemoryStore, records: Sequence[Record], heard: Heard
) -> None:
    begun = replace(restore(blueprint, copy), positions={}, topic_id="", recording=None, ids=(0, 0))
    with tempfile.TemporaryDirectory() as folder, closing(OrderLog(Path(folder) / "order.log")) as log:
        assemble(
            untimed(config),
            blueprint,
            begun,
            source=Sample(records),
            dead_letters=NoDeadLetters(),
            store=copy,
            order_log=log,
            observers=(heard,),
        ).run(until_end=True)


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """The mean of the first and of the last values that are known; NaN for none."""
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return math.nan, math.nan
    count = min(_ENDS, max(1, len(known) // 2))
    return fmean(known[:count]), fmean(known[-count:])


def _by_phase(heard: Heard) -> dict[str, tuple[float, float]]:
    columns = zip(*heard.losses, strict=True) if heard.losses else ()
    ends = {name: _ends(column) for name, column in zip(PHASES, columns, strict=False)}
    return {name: pair for name, pair in ends.items() if not math.isnan(pair[0])}


def _facts(heard: Heard, records: int) -> dict[str, Any]:
    finite = {
        name: {"first": _number(first), "last": _number(last)}
        for name, (first, last) in _by_phase(heard).items()
    }
    return {
        "records": records,
        "learned": len(heard.losses),
        "waiting": heard.waiting,
        "losses": finite,
        "refused": heard.refusals.facts(),
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _judged(config: Config, heard: Heard, records: int) -> Check:
    facts, refused = _facts(heard, records), heard.refusals.counts.total()
    words = "\n".join(_lines(heard, records))
    if refused > records * MOST or (refused and not heard.losses and not heard.waiting):
        remedy = "\n".join(_advice(config, heard)) or "mend the model, the loss or what is sent"
        return Check("learning", "fault", words, remedy, ConfigError.exit_code, facts)
    if remedy := "\n".join(_advice(config, heard)):
        return warning("learning", words, remedy, **facts)
    return ok("learning", words, **facts)


def _lines(heard: Heard, records: int) -> list[str]:
    learned, refused = len(heard.losses), heard.refusals.counts.total()
    where = "on a new state in memory" if heard.new else "on a copy of the state"
    parts = [f"{counted(learned, 'event')} of {counted(records, 'record')} learned from, {where}"]
    given_up = "" if learned or heard.waiting else ", then given up"
    parts += [f"{counted(refused, 'record')} refused{given_up}"] if refused else []
    parts += [f"examples of {counted(heard.waiting, 'record')} wait for an episode"] if heard.waiting else []
    losses = [
        f"{name} {first:.4g} first, {last:.4g} last" for name, (first, last) in _by_phase(heard).items()
    ]
    return [
        "; ".join(parts),
        *heard.refusals.lines(),
        *([f"query loss {'; '.join(losses)}"] if losses else []),
    ]


def _advice(config: Config, heard: Heard) -> list[str]:
    ends, counts, advice = _by_phase(heard), heard.refusals.counts, list[str]()
    if counts[Reason.NON_FINITE_UPDATE]:
        clips = [name for name in _CLIPS if _has(config, name)]
        advice.append(f"updates overflow: lower the learning rates, or set {' and '.join(clips)}")
    if counts.total() > counts[Reason.NON_FINITE_UPDATE]:
        lost = "the refused ones are dead letters: " if heard.losses or heard.waiting else ""
        advice.append(f"{lost}mend the model, the loss or what is sent")
    if any(not math.isfinite(value) for pair in ends.values() for value in pair):
        advice.append("losses are not finite: lower algorithm.inner_lr, or scale what is sent")
    elif any(last > _GROWTH * first > 0 for first, last in ends.values()):
        advice.append("the loss grows: lower algorithm.inner_lr or outer.lr, or scale what is sent")
    if not heard.losses and heard.waiting:
        sizes = config.events.support + config.events.query
        advice.append(f"no task has {sizes} examples yet, so nothing was learned: ask for more --records")
    return advice


def _has(config: Config, name: str) -> bool:
    section, _, key = name.partition(".")
    return key in type(getattr(config, section)).model_fields
