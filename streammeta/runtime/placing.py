"""Where to read: where the state stands, as far as the source can go there, else where it had to go."""

import sys
from collections.abc import Collection
from dataclasses import dataclass

from streammeta.events import Passed, Run
from streammeta.runtime.intake import Intake
from streammeta.runtime.orders import OrderLog
from streammeta.stream.base import Source


@dataclass
class Placing:
    """Keeps intake and order log to where the source stands."""

    source: Source
    intake: Intake
    order_log: OrderLog

    def begin(self) -> None:
        """Take the positions that the source could go to; runs that the topic no longer holds are no more."""
        ledger = self.intake.ledger
        before, was = ledger.positions, ledger.topic_id
        begin = dict(self.source.start(before, was))
        ledger.topic_id = self.source.identity() or was
        self.intake.start(begin)
        logged = {entry.partition for entry in self.order_log.pending({}) if isinstance(entry, Run | Passed)}
        if was and ledger.topic_id != was:
            self.drop_runs({*logged, *before, *begin})
        else:
            back = {p for p, offset in before.items() if begin.get(p, -1) < offset}
            self.drop_runs(back | (logged - begin.keys()))

    def follow(self) -> bool:
        """Go where the source had to go, if it had to; told before the records that follow are applied."""
        moves = self.source.moved()
        if not moves:
            return False
        ledger = self.intake.ledger
        was, ledger.topic_id = ledger.topic_id, self.source.identity() or ledger.topic_id
        if ledger.topic_id != was:
            self.drop_runs({*ledger.positions, *self.intake.taken, *moves})
            self.intake.start(moves)
        else:
            self.drop_runs(moves)
            self.intake.move(moves)
        return True

    def drop_runs(self, partitions: Collection[int]) -> None:
        """Forget them, before new positions are committed, lest a crash leaves some that seem to fit."""
        if partitions:
            self.order_log.forget(dict.fromkeys(partitions, sys.maxsize))
            passed = self.intake.passed  # and what was tried: other records have these places now
            self.intake.passed = {place: one for place, one in passed.items() if place[0] not in partitions}
            self.intake.trials.forget()
