"""The iterations of a chunk, each marked before it is tried; what was passed is logged and kept so."""

from collections.abc import Callable, Sequence
from typing import Literal

from streammeta.episodes.gathering import Taken, asked_of
from streammeta.errors import OutOfMemory
from streammeta.events import Passed, Record
from streammeta.learner.engine import Engine
from streammeta.runtime.answering import Answering
from streammeta.runtime.iteration import Result, iterate, try_alone
from streammeta.runtime.pending import Pending
from streammeta.runtime.tape import Tape
from streammeta.runtime.trials import Trials


def apply(
    engine: Engine,
    pending: Pending,
    trials: Trials,
    answering: Answering | None,
    tick: Callable[[], float],
) -> None:
    """Apply the iterations of the chunk that were not yet; the questions of an iteration come before it.

    Of an iteration that a process died of, each event is first tried alone: the next death names it.
    Where one breaks off, by Control-C in a notebook or by what is no refusal, those that were not applied are
    given up.
    """
    began_seconds = tick()
    tasks, pending.unloaded = pending.unloaded, []
    engine.load(tasks)
    loaded_seconds = tick()
    pending.load_seconds += loaded_seconds - began_seconds
    for gathered, items in zip(
        pending.iterations[pending.applied :], pending.items[pending.applied :], strict=True
    ):
        records = [taken.record for taken in gathered]
        if answering is not None:
            _answer(answering, gathered, trials)
        if len(records) > 1 and trials.suspects(records):
            for record, item in zip(records, items, strict=True):
                trials.learning([record])
                try_alone(engine, item)
        trials.learning(records)
        try:
            pending.results += iterate(engine, items)
        except BaseException:
            pending.give_up()
            raise
        pending.applied += 1
        if trials.suspicious:
            trials.over()
    trials.over()
    pending.step_seconds += tick() - loaded_seconds


def _answer(answering: Answering, gathered: Sequence[Taken], trials: Trials) -> None:
    for taken in gathered:
        asked = asked_of(taken.read)
        if asked is not None:
            trials.learning([taken.record])
            answering.answer(taken.record, asked)


def keep(
    pending: Pending,
    tape: Tape,
    log_passed: Callable[[Sequence[Passed]], object],
) -> None:
    """Tell the tape; what was passed for want of memory is logged too: another time it might not be."""
    at, found = 0, list[Passed]()
    starved = any(isinstance(result, OutOfMemory) for result in pending.results)
    for gathered in pending.iterations:
        records = [taken.record for taken in gathered]
        if starved:
            results = pending.results[at : at + len(records)]
            records, passed = _passed(records, results)
            found += passed
        at += len(records)
        tape.keep(records)
    if found:
        log_passed(found)


def _passed(records: Sequence[Record], results: Sequence[Result]) -> tuple[list[Record], list[Passed]]:
    """The records of an iteration, those marked that took more memory than there was; and these."""
    marked, found = list[Record](), list[Passed]()
    for record, result in zip(records, results, strict=True):
        if isinstance(result, OutOfMemory) and record.flaw is None:
            stage: Literal["decode", "step"] = "decode" if result.stage == "decode" else "step"
            found.append(Passed(record.partition, record.offset, stage=stage, died=False))
            marked.append(record._replace(flaw=found[-1].flaw))
        else:
            marked.append(record)
    return marked, found
