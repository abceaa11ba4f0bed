"""`library`: `Learner.learn` in a program, event by event, against the step alone and the engine in chunks.

All learn from the same events, compiled where that can be. `learn_all` hands over many at once; `predict` is
one at a task's memory.
"""

from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Final

from streammeta.benchmarks.learners import CHUNK, CompiledStep, compiled_or_why
from streammeta.benchmarks.learners import Learner as Engine
from streammeta.benchmarks.peers.problem import Problem, problem
from streammeta.benchmarks.rows import Plan, Row, Size, absent
from streammeta.benchmarks.turns import against, block, turns
from streammeta.config import load_config
from streammeta.library.learner import Learner

EVENTS: Final[dict[Size, int]] = {"small": CHUNK, "usual": 2048, "full": 8192}
ROUNDS: Final[dict[Size, int]] = {"small": 1, "usual": 11, "full": 21}
KNOWN: Final = 100
STEP: Final = "the step alone, compiled"
ENGINE: Final = f"engine, {CHUNK} events a call"
LEARN: Final = "Learner.learn"
LEARN_ALL: Final = f"Learner.learn_all, {CHUNK} events a call"
PREDICT: Final = "Learner.predict"


def library(plan: Plan) -> Iterator[Row]:
    """Microseconds of each, and their ratios to `Learner.learn`."""
    events = EVENTS[plan.size]
    made = problem(events, known=KNOWN)
    compiled, why = compiled_or_why(plan)
    one_by_one, predict = _learners(made, plan)
    measured = {
        LEARN: block(one_by_one, events),
        LEARN_ALL: block(_many(made, plan), events, CHUNK),
        ENGINE: block(Engine(made, compiled, load_config(None, [], {})), events, CHUNK),
        PREDICT: block(predict, events),
    }
    if compiled is None:
        yield absent(STEP, "µs", why)
    else:
        measured[STEP] = block(CompiledStep(made, compiled), events)
    yield from against(turns(measured, plan.rounds_of(ROUNDS), uncounted=plan.uncounted), LEARN)


def _learners(made: Problem, plan: Plan) -> tuple[Callable[[int], object], Callable[[int], object]]:
    learner = _learner(plan)

    def learn(number: int) -> object:
        support, query = made.episodes[number]
        return learner.learn(f"task-{made.tasks[number]}", support, query, time_ms=0)

    def predict(number: int) -> object:
        return learner.predict(f"task-{made.tasks[number]}", made.episodes[number].query.x[:1], at="memory")

    first = range(min(len(made.tasks), 4 * KNOWN))
    for number in first:  # what is compiled serves, and their tasks are known
        learn(number)
    known = cycle(first)
    return learn, lambda _: predict(next(known))


def _many(made: Problem, plan: Plan) -> Callable[[int], object]:
    learner = _learner(plan)

    def learn(number: int) -> object:
        events = zip(made.tasks[number : number + CHUNK], made.episodes[number : number + CHUNK], strict=True)
        return learner.learn_all(((f"task-{task}", *episode, 0) for task, episode in events), progress=False)

    return learn


def _learner(plan: Plan) -> Learner:
    return Learner.from_config(load_config(None, [f"engine.compile={plan.executor}"], {}))
