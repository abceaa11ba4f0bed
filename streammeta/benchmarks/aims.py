"""What the figures shall come to, and whether they do.

An aim is a bound on one row, which a pattern names: of several rows that fit, the last is meant (the largest
state, the compiled step). Bounds are on ratios where there is something to compare with, so that they hold on
every machine.
"""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Final, Literal, NamedTuple

from streammeta.benchmarks.batch import BATCH
from streammeta.benchmarks.batch import ENGINE as BATCH_ENGINE
from streammeta.benchmarks.conv import PASSES
from streammeta.benchmarks.hops import AROUND
from streammeta.benchmarks.library import LEARN
from streammeta.benchmarks.library import STEP as BARE_STEP
from streammeta.benchmarks.peers.catalogue import CPP, SCAN
from streammeta.benchmarks.pipeline import NUMPY, OURS, TORCHOPT
from streammeta.benchmarks.predictions import ASKED, BEHIND, LIST, ONE
from streammeta.benchmarks.rows import Row
from streammeta.benchmarks.step import ENGINE, STEP
from streammeta.benchmarks.tasks import ZIPF


class Aim(NamedTuple):
    """A bound on a figure.

    Attributes:
        words: What is aimed for.
        suite, figure: The row; `figure` may hold `*`.
        kind, bound: At least, or at most, how much.
    """

    words: str
    suite: str
    figure: str
    kind: Literal["at least", "at most"]
    bound: float


class Judged(NamedTuple):
    """An aim and what was measured.

    Attributes:
        measured: None where it could not be.
        share: How much of the aim was reached: 1 and above is met.
    """

    aim: Aim
    measured: float | None
    unit: str
    share: float | None


def _step(ours: str) -> Iterator[Aim]:
    yield Aim(f"{ours}: as fast as TorchOpt, times", "step", f"TorchOpt, MAML / {ours}", "at least", 40)
    yield Aim(f"{ours}: as NumPy by hand, times", "step", f"NumPy by hand, MOML / {ours}", "at least", 6)
    yield Aim(f"{ours}: as jax.jit, times", "step", f"JAX jit, MOML / {ours}", "at least", 4)
    yield Aim(
        f"{ours}: as lax.scan of {SCAN}, times", "step", f"JAX scan of {SCAN}, MOML / {ours}", "at least", 2
    )
    yield Aim(f"{ours}: as C++ by hand, times (a third)", "step", f"{CPP} / {ours}", "at least", 1 / 3)


AIMS: Final = (
    *_step(STEP),
    *_step(ENGINE),
    Aim("conv4: as its bare passes in eager torch, times", "step", f"{PASSES} / conv4, *", "at least", 0.8),
    Aim(
        f"batch of {BATCH}: as C++ by hand, times (10 µs where it takes 13)",
        "batch",
        f"{CPP} / {BATCH_ENGINE}",
        "at least",
        1.3,
    ),
    Aim("the daemon: as kafka-python + TorchOpt, times", "pipeline", f"{TORCHOPT} / {OURS}", "at least", 20),
    Aim("the daemon: as kafka-python + NumPy, times", "pipeline", f"{NUMPY} / {OURS}", "at least", 3),
    Aim("Python around the step, µs", "hops", AROUND, "at most", 45),
    Aim("an event with many tasks / with few, uniform", "tasks", "event, *, uniform / *", "at most", 1.5),
    Aim("peak resident memory, MB: cache + 500", "tasks", "peak *, uniform", "at most", 570),
    Aim(f"the same, Zipf({ZIPF})", "tasks", f"event, *, Zipf({ZIPF}) / *", "at most", 1.15),
    Aim("seconds to the first event", "start", "* tasks, first event learned", "at most", 3),
    Aim(
        "resident memory over a stream, end / beginning",
        "memory",
        "*resident memory, end / *",
        "at most",
        1.05,
    ),
    Aim(
        "processor time of an event over a stream, end / beginning",
        "memory",
        "*processor time, last / *",
        "at most",
        1.05,
    ),
    Aim("one prediction beside the learner, median, ms", "predictions", f"{ONE}50", "at most", 2),
    Aim("the same, 99 of 100, ms", "predictions", f"{ONE}99", "at most", 10),
    Aim("the learner's rate while asked / alone", "predictions", ASKED, "at least", 0.9),
    Aim("predictions a second in lists, memories", "predictions", f"{LIST}memory, *", "at least", 50_000),
    Aim("serve behind the daemon, seconds", "predictions", BEHIND, "at most", 1),
    Aim(
        "Learner.learn: as fast as the bare step, times", "library", f"{BARE_STEP} / {LEARN}", "at least", 0.7
    ),
)


def judged(rows: Sequence[tuple[str, Row]]) -> list[Judged]:
    """The aims whose suites ran.

    >>> judged([("hops", Row(AROUND, 90.0, "µs"))])[0].share
    0.5
    """
    suites = {suite for suite, _ in rows}
    return [_judge(aim, rows) for aim in AIMS if aim.suite in suites]


def _judge(aim: Aim, rows: Sequence[tuple[str, Row]]) -> Judged:
    found = [row for suite, row in rows if suite == aim.suite and fnmatchcase(row.name, aim.figure)]
    if not found or not found[-1].value:
        return Judged(aim, None, "", None)
    value = found[-1].value
    share = value / aim.bound if aim.kind == "at least" else aim.bound / value
    return Judged(aim, value, found[-1].unit, share)
