"""Offsets told to the broker, for lag tools only: recovery never reads them, so a failure stops nothing."""

import time
from collections.abc import Callable
from typing import Any

import structlog
from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition, errors

from streammeta.events import Positions
from streammeta.stream.kafka.access import KafkaSettings, always, client_config, connect
from streammeta.stream.kafka.refusals import acl, words
from streammeta.stream.kafka.waits import close_client

log = structlog.get_logger(__name__)

COMPLAINT_SECONDS = 60.0
_LAST_COMMIT_MS = 1_000


class Committer:
    """Commits offsets of the topic for the group, without being a member of it."""

    def __init__(
        self,
        settings: KafkaSettings,
        keep_going: Callable[[], bool] = always,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises as `connect`."""
        self._settings, self._clock = settings, clock
        fixed = {"group_id": settings.group_id, "enable_auto_commit": False, "metrics_enabled": True}
        config = client_config(KafkaConsumer, settings, {"allow_auto_create_topics": False}, fixed)
        self._client = connect(KafkaConsumer, settings, config, keep_going).client
        self._complained_at = -COMPLAINT_SECONDS
        self._last: dict[Any, Any] = {}

    def commit(self, positions: Positions) -> None:
        """Begin to commit. Never raises, never waits."""
        self._last = {
            TopicPartition(self._settings.topic, partition): OffsetAndMetadata(offset, "", -1)
            for partition, offset in positions.items()
        }
        try:
            self._client.commit_async(self._last, callback=self._done)
        except (errors.KafkaError, RuntimeError) as error:
            self._done(self._last, error)

    def close(self, *, wait: bool) -> None:
        """Let go of the connection; `wait` for the last commit, a second at most."""
        try:
            if wait and self._last:
                self._client.commit(self._last, timeout_ms=_LAST_COMMIT_MS)
        except (errors.KafkaError, RuntimeError) as error:
            self._done(self._last, error)
        close_client(self._client, autocommit=False, timeout_ms=_LAST_COMMIT_MS)

    def _done(self, _offsets: object, answer: object) -> None:
        if not isinstance(answer, Exception) or self._clock() - self._complained_at < COMPLAINT_SECONDS:
            return
        self._complained_at = self._clock()
        group = self._settings.group_id
        remedy = "lag tools show old offsets; nothing is lost"
        if isinstance(answer, errors.AuthorizationError):
            remedy += f"; grant the right: {acl(self._settings, 'Read', f'--group {group}')}"
        log.warning("offsets not committed to the broker", group=group, cause=words(answer), remedy=remedy)
