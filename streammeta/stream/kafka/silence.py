"""Whether the broker has answered lately, told from the time spent waiting for it in vain.

A slow learner asks for nothing and hears nothing between polls; that is no silence of the broker.
"""

import structlog

from streammeta.stream.kafka.access import HEARING

log = structlog.get_logger(__name__)

SILENCE_SECONDS = 5.0
"""How long we wait for answers in vain before the broker counts as away."""


class Silence:
    """Counts the seconds waited since the last answer; logs when the broker goes and when it is back."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._heard = 0.0
        self._waited_seconds = 0.0
        self.away = False

    def listen(self, answered: float, waited_seconds: float, *, received: bool) -> None:
        """Fold one poll.

        Args:
            answered: A number that grows with every answer of the broker.
            waited_seconds: How long the poll took.
            received: It gave records, perhaps from a buffer: nothing was waited for.
        """
        if answered != self._heard:
            self._heard, self._waited_seconds = answered, 0.0
        elif not received:
            self._waited_seconds += waited_seconds
        away = self._waited_seconds >= SILENCE_SECONDS
        if away != self.away:
            self.away = away
            self._tell()

    def _tell(self) -> None:
        if self.away:
            cause = HEARING.last or "no answer"
            log.warning("broker away", bootstrap_servers=self._bootstrap_servers, cause=cause)
        else:
            log.info("broker back", bootstrap_servers=self._bootstrap_servers)
