"""Dead letters while nothing was learned: a fault of the model must not set a whole topic aside.

As long as no event was learned, what the model refuses is held back. It goes to the dead letters after
the first event that is learned, or with the next checkpoint; but the record that makes it `FIRST_REFUSALS`
ends the program, and the offsets stay before what is held. The number belongs to the state, so that a restart
or a replay decides the same.
"""

from typing import Final

from streammeta.errors import BadEvent, ConfigError, Reason
from streammeta.events import Record
from streammeta.learner.engine import Engine
from streammeta.runtime.ledger import Ledger
from streammeta.state.progress import Tally
from streammeta.stream.base import DeadLetters, Waiting, untold

FIRST_REFUSALS: Final = 10
"""Records that the model may refuse before anything is learned."""


class FirstRefusals:
    """`DeadLetters` that judge whether the model is at fault before they send."""

    def __init__(self, behind: DeadLetters, engine: Engine, ledger: Ledger) -> None:
        """`behind`: where letters go; `engine`, `ledger`: what the state contains."""
        self._behind, self._engine, self._ledger = behind, engine, ledger
        self._held: list[tuple[Record, BadEvent]] = []

    def send(self, record: Record, refusal: BadEvent) -> None:
        """As `DeadLetters.send`.

        Raises:
            ConfigError: the model has refused all that it was asked to learn from.
        """
        learned = self._ledger.learned > 0  # not the engine's: it has learned the whole chunk
        suspect = refusal.stage == "step" and refusal.reason != Reason.NON_FINITE_INPUT
        if suspect and not learned:
            self._judge(refusal)
        self._held.append((record, refusal))
        if learned or not (suspect or len(self._held) > 1):
            self._release()

    def flush(self, waiting: Waiting = untold) -> None:
        """As `DeadLetters.flush`."""
        self._release()
        self._behind.flush(waiting)

    def close(self) -> None:
        """As `DeadLetters.close`; what is held was not passed, and is read again."""
        self._behind.close()

    def _release(self) -> None:
        held, self._held = self._held, []
        for record, refusal in held:
            self._behind.send(record, refusal)

    def _judge(self, refusal: BadEvent) -> None:
        tally = self._ledger.tally = self._ledger.tally.plus(Tally(unlearned=1))
        if tally.unlearned >= FIRST_REFUSALS and not self._holds_examples():
            raise ConfigError(
                f"model.factory, model.loss: nothing was learned, and the model refused {tally.unlearned} "
                f"records, the last one with {refusal.reason}: {refusal}\n"
                "mend the model, the loss or what is sent; if it is the first records that are wrong, begin "
                'behind them: kafka.start = "latest" with a new state.dir'
            )

    def _holds_examples(self) -> bool:
        """Whether the model took examples that still wait for their episode."""
        memories = self._engine.memories
        return any(memories.get(task).buffer.examples is not None for task, _ in [*memories.waiting()])
