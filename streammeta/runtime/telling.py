"""What came of a chunk is told to observers, counted, and set aside where it was refused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from streammeta.episodes.gathering import Taken
from streammeta.errors import BadEvent
from streammeta.events import Record
from streammeta.outcomes import Expired, Learned, Observer, Outcome, Refused
from streammeta.runtime.iteration import Result
from streammeta.runtime.ledger import Ledger
from streammeta.runtime.told import outcome_of
from streammeta.state.progress import Tally
from streammeta.stream.base import DeadLetters

NONE: Mapping[tuple[int, int], BadEvent] = MappingProxyType({})


@dataclass(frozen=True)
class Telling:
    """Who is told.

    Attributes:
        topic: The name that outcomes carry.
        observers: Told what happened.
    """

    topic: str
    observers: Sequence[Observer]
    dead_letters: DeadLetters
    ledger: Ledger

    def tell(self, outcome: Outcome) -> None:
        """Tell every observer."""
        for observer in self.observers:
            observer(outcome)

    def settled(
        self,
        columns: Learned | None,
        taken: Sequence[Taken],
        results: Sequence[Result],
        unanswered: Mapping[tuple[int, int], BadEvent] = NONE,
    ) -> None:
        """Tell of a chunk: what was learned as columns, the other records one by one.

        `unanswered`: by partition and offset, why a question could not be answered.
        """
        if columns is not None:
            self.tell(columns)
        if not unanswered and results.count(1) == len(results):  # nearly all are told as columns
            self.ledger.learned += len(results)
            return
        for one, result in zip(taken, results, strict=True):
            refusal = unanswered.get((one.record.partition, one.record.offset)) if unanswered else None
            if refusal is not None and not isinstance(result, BadEvent):
                self.unanswered(one.record, refusal)
            elif result != 1:
                self._settled(one.record, result)
            if isinstance(result, int):
                self.ledger.learned += result

    def unanswered(self, record: Record, refusal: BadEvent) -> None:
        """Set a record aside that could not be answered; the state does not count it as refused."""
        self.dead_letters.send(record, refusal)
        self.tell(Refused(self.topic, record.partition, record.offset, refusal.reason, str(refusal)))

    def count(self, records: int, more: Tally) -> None:
        """Count records, and what expired with them."""
        self.ledger.tally = self.ledger.tally.plus(more, records)
        if more.expired or more.unmatched:
            self.tell(Expired(self.topic, more.expired, more.unmatched))

    def _settled(self, record: Record, result: Result) -> None:
        """Tell what came of a record, but for what was learned; it is set aside when it was refused."""
        if isinstance(result, BadEvent):
            self.dead_letters.send(record, result)
            self.ledger.refused[result.reason] = self.ledger.refused.get(result.reason, 0) + 1
        outcome = outcome_of(self.topic, record, result)
        if outcome is not None:
            self.tell(outcome)
