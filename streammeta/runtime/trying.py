"""The iterations of a chunk, each marked before it is tried; what was passed is logged and kept so."""

from collections.abc import Callable, Sequence
from typing import Literal

from streammeta.episodes.gathering import Taken, asked_of
from streammeta.errors import OutOfMemory
from streammeta.events import Passed
from streammeta.learner.engine import Engine
from streammeta.runtime.answering import Answering
from streammeta.runtime.iteration import Result, iterate, try_alone
from streammeta.runtime.pending import Pending
from streammeta.runtime.tape import Tape
from streammeta.runtime.trials import Trials


def learn(
    engine: Engine, pending: Pending, trials: Trials, answering: Answering | None = None
) -> list[Result]:
    """What came of the records of the chunk, which is loaded; the questions of an iteration come before it.

    Of an iteration that a process died of, each event is first tried alone: the next death names it.
    """
    results: list[Result] = []
    for gathered, items in zip(pending.iterations, pending.items, strict=True):
        records = [taken.record for taken in gathered]
        if answering is not None:
            _answer(answering, gathered, trials)
        if len(records) > 1 and trials.suspects(records):
            for record, item in zip(records, items, strict=True):
                trials.learning([record])
                try_alone(engine, item)
        trials.learning(records)
        results += iterate(engine, items)
        if trials.suspicious:
            trials.over()
    trials.over()
    return results


def _answer(answering: Answering, gathered: Sequence[Taken], trials: Trials) -> None:
    for taken in gathered:
        asked = asked_of(taken.read)
        if asked is not None:
            trials.learning([taken.record])
            answering.answer(taken.record, asked)


def keep(
    pending: Pending,
    results: Sequence[Result],
    tape: Tape,
    log_passed: Callable[[Sequence[Passed]], object],
) -> None:
    """Tell the tape; what was passed for want of memory is logged too: another time it might not be."""
    at, found = 0, list[Passed]()
    for gathered in pending.iterations:
        records = [taken.record for taken in gathered]
        for number, record in enumerate(records):
            result = results[at + number]
            if isinstance(result, OutOfMemory) and record.flaw is None:
                stage: Literal["decode", "step"] = "decode" if result.stage == "decode" else "step"
                passed = Passed(record.partition, record.offset, stage=stage, died=False)
                records[number] = record._replace(flaw=passed.flaw)
                found.append(passed)
        at += len(records)
        tape.keep(records)
    if found:
        log_passed(found)
