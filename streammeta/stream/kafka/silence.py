"""Whether the fetches of a reader are answered, told from the time spent waiting for them in vain.

A slow learner asks for nothing and hears nothing between polls; that is no silence of the broker.
"""

SILENCE_SECONDS = 5.0
"""How long we wait for answers in vain before the reader counts as cut off."""


class Silence:
    """Counts the seconds waited since the last answer."""

    def __init__(self) -> None:
        self._heard = 0.0
        self.seconds = 0.0

    @property
    def away(self) -> bool:
        """Whether nothing was answered for `SILENCE_SECONDS` of waiting."""
        return self.seconds >= SILENCE_SECONDS

    def listen(self, answered: float, waited_seconds: float, *, received: bool) -> None:
        """Fold one poll.

        Args:
            answered: A number that grows with every fetch that was answered.
            waited_seconds: How long the poll took.
            received: It gave records, perhaps from a buffer: nothing was waited for.
        """
        if answered != self._heard:
            self._heard, self.seconds = answered, 0.0
        elif not received:
            self.seconds += waited_seconds
