"""The iterations of a chunk applied, one after the other; what they are tried for is marked before.

A record that takes more memory than there is, this time, is passed: its flaw goes where a replay finds it.
"""

from collections.abc import Sequence
from typing import Literal

from streammeta.errors import OutOfMemory
from streammeta.events import Passed, Record
from streammeta.learner.engine import Engine
from streammeta.runtime.iteration import Result, iterate, try_alone
from streammeta.runtime.pending import Pending
from streammeta.runtime.trials import Trials


def apply(engine: Engine, chunk: Pending, trials: Trials) -> list[Result]:
    """What came of the records of the loaded chunk; each iteration is marked before its try."""
    results: list[Result] = []
    for gathered, items in zip(chunk.iterations, chunk.items, strict=True):
        records = [taken.record for taken in gathered]
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


def flawed(chunk: Pending, results: Sequence[Result]) -> tuple[list[list[Record]], list[Passed]]:
    """The records of each iteration, with the flaws that were found; and those that were passed for them."""
    iterations, passed = (
        [[taken.record for taken in gathered] for gathered in chunk.iterations],
        list[Passed](),
    )
    ended = iter(results)
    for records in iterations:
        for number, record in enumerate(records):
            result = next(ended)
            if isinstance(result, OutOfMemory) and record.flaw is None:
                stage: Literal["decode", "step"] = "decode" if result.stage == "decode" else "step"
                passed.append(Passed(record.partition, record.offset, stage=stage, died=False))
                records[number] = record._replace(flaw=passed[-1].flaw)
    return iterations, passed
