"""`step`: one event, strictly in order, all that is reported, against the same event by other hands.

The compiled step alone works on filled tables, as C++ by hand does; the engine's figures hold all but Kafka,
decoding, observers and commits.
"""

from collections.abc import Callable, Iterator

from streammeta.benchmarks.conv import conv4
from streammeta.benchmarks.learners import CHUNK, CompiledStep, Learner, compiled_or_why
from streammeta.benchmarks.peers.catalogue import PEERS, why_missing
from streammeta.benchmarks.peers.numpy_moml import NumpyMoml
from streammeta.benchmarks.peers.problem import Problem, problem
from streammeta.benchmarks.rows import Plan, Row, Size, absent
from streammeta.benchmarks.turns import against, block, turns
from streammeta.config import load_config
from streammeta.learner.executors.chunk import NUMBERS

STEP, ENGINE, TRACED = "step, compiled", "engine, compiled steps", "engine, traced steps"
EVENTS, SAME_EVENTS = 256, 60
TOLERANCE = 2e-3
ROUNDS: dict[Size, int] = {"small": 1, "usual": 21, "full": 51}


def step(plan: Plan) -> Iterator[Row]:
    """Microseconds of MLP 1-40-40-1, K = 10 + 10, second order; then `conv4` on images."""
    events = CHUNK if plan.size == "small" else EVENTS
    made, config = problem(events), load_config(None, [], {})
    compiled, why = compiled_or_why(plan)
    calls: dict[str, tuple[Callable[[int], object], int]] = {}
    if compiled is not None:
        off = difference(CompiledStep(made, compiled), made)
        yield Row(f"{STEP}, off NumPy by hand by", off, "of each loss")
        calls[STEP] = CompiledStep(made, compiled), 1
        calls[ENGINE] = Learner(made, compiled, config), CHUNK
    else:
        yield from (absent(name, "µs", why) for name in (STEP, ENGINE))
    calls[TRACED] = Learner(made, None, config), CHUNK
    for name, peer in PEERS.items():
        if reason := why_missing(peer):
            yield absent(name, "µs", reason)
        else:
            calls[name] = peer.make(made), peer.per_call
    measured = turns(
        {name: block(call, events, stride) for name, (call, stride) in calls.items()},
        plan.rounds_of(ROUNDS),
        uncounted=plan.uncounted,
    )
    yield from against(measured, STEP if STEP in measured else TRACED)
    if ENGINE in measured:
        yield from (row for row in against(measured, ENGINE) if row.unit == "ratio")
    yield from conv4(plan, compiled)


def difference(learner: CompiledStep, made: Problem) -> float:
    """How far the losses after adaptation of the first events lie from those of NumPy by hand, at most.

    Raises:
        ArithmeticError: farther than rounding goes in so many events.
    """
    numpy = NumpyMoml(made, "float64")
    worst = 0.0
    for number in range(SAME_EVENTS):
        learner(number)
        found = float(learner.numbers[number, NUMBERS.index("loss_adapted")])
        right = numpy(number).loss_adapted
        worst = max(worst, abs(found - right) / right)
    if not worst <= TOLERANCE:
        raise ArithmeticError(f"the compiled step lies {worst:.2g} off NumPy by hand; allowed: {TOLERANCE}")
    return worst
