"""After a crash: what the order log says, and no checkpoint contains, is applied again."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from streammeta.events import Cut, Record, Run, Switch
from streammeta.runtime.intake import Intake
from streammeta.runtime.orders import OrderLog
from streammeta.stream.base import Source


@dataclass
class Recovery:
    """Applies again, in the logged order and iterations, what was applied after the last checkpoint.

    Attributes:
        apply: Applies new records; False when it was asked to stop on the way.
        stopped: Whether it was.
        drop_runs: Makes the order log forget partitions.
        turn: Makes switches.
        turned: Told now and then, with the share that is applied.
    """

    source: Source
    intake: Intake
    order_log: OrderLog
    apply: Callable[[Iterable[Record]], bool]
    close: Callable[[], None]
    stopped: Callable[[], bool]
    drop_runs: Callable[[Collection[int]], None]
    turn: Callable[[Sequence[Switch]], None]
    turned: Callable[[float], None]

    def run(self) -> bool:
        """All that is pending; False when it was asked to stop on the way."""
        entries = self.order_log.pending(self.intake.ledger.positions)
        ended, topic = set[int](), self.source.identity()
        for number, entry in enumerate(entries):
            share = number / len(entries)
            self.turned(share)
            if self.stopped():
                return False
            if isinstance(entry, Cut):
                self.close()
            elif isinstance(entry, Switch):
                self.turn([entry])
            elif isinstance(entry, Run) and entry.partition not in ended:
                records = self.source.fetch(entry, partial(self.turned, share))
                if self.source.identity() != topic:
                    break  # all the rest is of a topic that is no more; the next poll tells of the new one
                if not self._repeat(entry, records):
                    ended.add(entry.partition)
                    self.drop_runs(ended)
        return not self.stopped()

    def _repeat(self, run: Run, records: Sequence[Record]) -> bool:
        """Apply a logged run again; False when the topic's log now ends within it."""
        if not self.apply(self.intake.new(records)):
            return True
        reached = min(run.end, self.source.positions()[run.partition])
        self.intake.pass_to(run.partition, reached)
        return reached == run.end
