"""Where a reader begins that was told an offset or a time, partition by partition."""

from collections.abc import Callable
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition, errors

from streammeta.errors import BrokerUnavailable
from streammeta.stream.kafka.access import KafkaSettings, always, connected
from streammeta.stream.kafka.held import held
from streammeta.stream.kafka.refusals import named
from streammeta.stream.kafka.topics import Administration
from streammeta.stream.kafka.waits import QUESTION_SECONDS


def since_offset(
    settings: KafkaSettings, offset: int, keep_going: Callable[[], bool] = always
) -> dict[int, int]:
    """`offset` in every partition, or the nearest that the log holds. Raises as `held`."""
    partitions = _partitions(settings, keep_going)
    found = held(settings, partitions, keep_going)
    return {number: min(max(offset, log.first), log.end) for number, log in found.items()}


def since_time(
    settings: KafkaSettings, time_ms: int, keep_going: Callable[[], bool] = always
) -> dict[int, int]:
    """Per partition an offset before which no record is as late as `time_ms`. Raises as `held`.

    Kafka looks at the records' timestamps, the embedded broker at when it got them, which is no earlier.
    """
    partitions = _partitions(settings, keep_going)
    ends = {number: log.end for number, log in held(settings, partitions, keep_going).items()}
    with connected(KafkaConsumer, settings, keep_going, {"group_id": None}) as consumer:
        try:
            answer: dict[Any, Any] = consumer.offsets_for_times(
                {TopicPartition(settings.topic, number): time_ms for number in partitions},
                timeout_ms=int(QUESTION_SECONDS * 1000),
            )
        except errors.KafkaError as error:
            servers = settings.bootstrap_servers
            raise named(error, settings) or BrokerUnavailable(
                f"{servers} does not tell offsets for a time: {error}; use --from OFFSET"
            ) from error
    return ends | {place.partition: found.offset for place, found in answer.items() if found is not None}


def _partitions(settings: KafkaSettings, keep_going: Callable[[], bool]) -> list[int]:
    with connected(KafkaAdminClient, settings, keep_going) as admin:
        return sorted(Administration(admin, settings, keep_going).require_readable(settings.topic).partitions)
