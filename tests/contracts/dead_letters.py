"""What every `DeadLetters` promises. To enrol, subclass `DeadLettersContract` and override its fixtures."""

from collections.abc import Callable

import pytest

from streammeta.errors import BadEvent, Reason
from streammeta.events import Record
from streammeta.stream.base import DeadLetters

REFUSAL = BadEvent(Reason.UNDECODABLE, "no map")
RECORDS = [Record("tasks", n % 2, n, n, b"key", b"value-%d" % n) for n in range(5)]


class DeadLettersContract:
    """The promises, one test each."""

    @pytest.fixture
    def letters(self) -> DeadLetters:
        """Overridden by each implementation."""
        raise NotImplementedError

    @pytest.fixture
    def kept(self) -> Callable[[], list[Record]] | None:
        """Reads what is acknowledged; None where nothing is kept."""
        raise NotImplementedError

    def test_what_was_sent_is_kept_after_a_flush(
        self, letters: DeadLetters, kept: Callable[[], list[Record]] | None
    ) -> None:
        """Every record once, in the order sent; a second flush writes nothing again."""
        for record in RECORDS:
            letters.send(record, REFUSAL)
        letters.flush(lambda: None)
        letters.flush()
        if kept is not None:
            assert kept() == RECORDS

    def test_nothing_to_flush(self, letters: DeadLetters) -> None:
        """A checkpoint without a refusal."""
        letters.flush()

    def test_close_twice(self, letters: DeadLetters) -> None:
        """A second `close` does nothing."""
        letters.close()
        letters.close()
