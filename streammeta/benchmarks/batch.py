"""`batch`: iterations of 32 events at once, vmapped and compiled, per event; and that they are right.

The plain loop is NumPy by hand in float64: each event of an iteration alone, from the same parameters, then
the mean of what the 32 would come to, which for heavy-ball momentum is the step along the mean gradient.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from streammeta.benchmarks.learners import CHUNK, CompiledStep, Learner, compiled_or_why
from streammeta.benchmarks.peers.catalogue import CPP, PEERS, why_missing
from streammeta.benchmarks.peers.numpy_moml import NumpyMoml
from streammeta.benchmarks.peers.problem import Problem, problem
from streammeta.benchmarks.rows import Plan, Row, Size, absent
from streammeta.benchmarks.turns import Measure, against, block, turns
from streammeta.config import load_config
from streammeta.events import Array

BATCH, KNOWN = 32, 64
TOLERANCE = 1e-5
STEP, ENGINE = f"step of {BATCH}, compiled", f"engine, batch = {BATCH}"
STRICT = "engine, strict"
ROUNDS: dict[Size, int] = {"small": 1, "usual": 21, "full": 51}


def batch(plan: Plan) -> Iterator[Row]:
    """Microseconds an event, and the largest difference from the plain loop.

    Raises:
        ArithmeticError: it is more than `TOLERANCE` of the largest number.
    """
    events = CHUNK if plan.size == "small" else 4 * CHUNK
    made = problem(events, known=KNOWN)
    # The tasks of an iteration must differ.
    made = replace(made, tasks=[number % KNOWN for number in range(events)])
    compiled, why = compiled_or_why(plan)
    batched = load_config(None, [f"events.batch={BATCH}"], {})
    engine = Learner(made, compiled, batched)
    yield Row(f"{ENGINE}, off the plain loop by", difference(engine, made), "of the largest number")
    measures: dict[str, Measure] = {}
    if compiled is not None:
        measures[STEP] = block(CompiledStep(made, compiled, BATCH), events, BATCH)
    else:
        yield absent(STEP, "µs", why)
    measures[ENGINE] = block(engine, events, CHUNK)
    measures[STRICT] = block(Learner(made, compiled, load_config(None, [], {})), events, CHUNK)
    if reason := why_missing(PEERS[CPP]):
        yield absent(CPP, "µs", reason)
    else:
        measures[CPP] = block(PEERS[CPP].make(made), events)
    yield from against(turns(measures, plan.rounds_of(ROUNDS), uncounted=plan.uncounted), ENGINE)


def difference(learner: Learner, made: Problem) -> float:
    """How far a chunk's parameters and memories lie from the plain loop's, as a share of the largest number.

    Raises:
        ArithmeticError: too far.
    """
    learner(0)
    engine, plain = learner.engine, plain_loop(made, CHUNK)
    slots = engine.memories.slots([f"task-{task}" for task in range(KNOWN)])
    rows = engine.memories.rows[[*slots.values()]].numpy()
    pairs = (engine.state.params.numpy(), plain.params), (rows, plain.memories)
    worst = max(float(np.abs(found - right).max() / np.abs(right).max()) for found, right in pairs)
    if not worst <= TOLERANCE:
        raise ArithmeticError(f"a batch of {BATCH} lies {worst:.2g} off the plain loop; allowed: {TOLERANCE}")
    return worst


def plain_loop(made: Problem, events: int) -> NumpyMoml:
    """The learner after the first events, iteration by iteration, event by event."""
    learner = NumpyMoml(made, "float64")
    for begin in range(0, events, BATCH):
        alone = [_after(learner, number) for number in range(begin, begin + BATCH)]
        for number, one in zip(range(begin, begin + BATCH), alone, strict=True):
            task = made.tasks[number]
            learner.memories[task], learner.seen[task] = one.memories[task], True
        learner.params, learner.momentum = (
            _mean([getattr(one, name) for one in alone]) for name in ("params", "momentum")
        )
    return learner


def _after(learner: NumpyMoml, number: int) -> NumpyMoml:
    one = NumpyMoml(learner.made, "float64")
    one.params, one.momentum = learner.params, learner.momentum
    one.memories, one.seen = learner.memories.copy(), learner.seen.copy()
    one(number)
    return one


def _mean(arrays: list[Array]) -> Array:
    mean: Array = np.mean(arrays, axis=0)
    return mean
