"""What `[kafka.client]` may hold: the settings of kafka-python's clients, less those that streammeta owns.

Nothing here connects; a wrong key is refused when the configuration is read, not when the broker is met.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from streammeta.config.secret import shown
from streammeta.config.suggest import did_you_mean

SECURITY_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
PASSWORD_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
SASL_MECHANISMS = (*PASSWORD_MECHANISMS, "GSSAPI", "AWS_MSK_IAM")
"""Those of kafka-python, less OAUTHBEARER, whose tokens come from a Python object."""

_BYTES = "records are kept byte for byte"
_COMMITS = "offsets are committed with the state, never by the client"
_PARTITIONS = "every partition of the topic is read, no group hands them out"
_ACKNOWLEDGED = "a dead letter must be acknowledged by all replicas"
_OBJECT = "it takes a Python object, which a configuration cannot hold"

OWNED: Mapping[str, str] = {
    "bootstrap_servers": "set kafka.bootstrap_servers",
    "bootstrap_timeout_ms": "set kafka.connect_timeout_seconds",
    "group_id": "set kafka.group_id",
    "auto_offset_reset": "set kafka.start and kafka.on_lost_offsets",
    "enable_auto_commit": _COMMITS,
    "auto_commit_interval_ms": _COMMITS,
    "default_offset_commit_callback": _COMMITS,
    "group_instance_id": _PARTITIONS,
    "partition_assignment_strategy": _PARTITIONS,
    "key_deserializer": _BYTES,
    "value_deserializer": _BYTES,
    "key_serializer": _BYTES,
    "value_serializer": _BYTES,
    "acks": _ACKNOWLEDGED,
    "enable_idempotence": _ACKNOWLEDGED,
    "transactional_id": "nothing is written in a Kafka transaction",
    "partitioner": "a task's events must stay on one partition",
    "consumer_timeout_ms": "the daemon polls with its own deadlines",
    "kafka_client": _OBJECT,
    "metric_reporters": _OBJECT,
    "sasl_oauth_token_provider": _OBJECT,
    "selector": _OBJECT,
    "ssl_context": _OBJECT,
}
"""Key -> why it cannot be set in `[kafka.client]`, or what to set in its place."""


@cache
def known_defaults() -> Mapping[str, Any]:
    """Key -> kafka-python's default, over all keys of its consumer, producer and admin client.

    kafka-python is imported on the first call, so that commands that never meet it start faster.
    """
    from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer

    return {
        **KafkaAdminClient.DEFAULT_CONFIG,
        **KafkaProducer.DEFAULT_CONFIG,
        **KafkaConsumer.DEFAULT_CONFIG,
    }


def takes_text(key: str) -> bool:
    """Whether the value of `key` is text, so that digits in an environment variable stay text."""
    default = known_defaults().get(key)
    return isinstance(default, str) or (
        default is None and not key.endswith("_bytes") and key != "api_version"
    )


def client_problems(client: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each wrong key with what is wrong; the values of secrets are masked."""
    found = ((key, _problem(key, value)) for key, value in client.items())
    return [*((key, problem) for key, problem in found if problem), *_incomplete(client)]


def _problem(key: str, value: Any) -> str | None:
    name = f"kafka.client.{key}"
    if key in OWNED:
        return f"{name} is kept by streammeta: {OWNED[key]}"
    if key not in known_defaults():
        hint = did_you_mean(key, known_defaults())
        return f"unknown key '{name}', which no client of kafka-python has{hint}"
    wanted = _wanted(key, value)
    return f"{name} = {shown(('kafka', 'client', key), value)}: must be {wanted}" if wanted else None


def _incomplete(client: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Keys that are of no use without another, which is named with the line that sets it."""
    mechanism = client.get("sasl_mechanism")
    if mechanism is None and str(client.get("security_protocol")).startswith("SASL_"):
        yield "security_protocol", _needs(client, "security_protocol", "sasl_mechanism")
    if mechanism in PASSWORD_MECHANISMS:
        for key in ("sasl_plain_username", "sasl_plain_password"):
            if not client.get(key):
                yield "sasl_mechanism", _needs(client, "sasl_mechanism", key)
    if client.get("ssl_certfile") and not client.get("ssl_keyfile"):
        same_file = " (the same file, if it holds the key too)"
        yield "ssl_certfile", _needs(client, "ssl_certfile", "ssl_keyfile") + same_file


def _needs(client: Mapping[str, Any], key: str, missing: str) -> str:
    variable = f"STREAMMETA_KAFKA__CLIENT__{missing.upper()}"
    return (
        f"kafka.client.{key} = {shown(('kafka', 'client', key), client[key])}: needs "
        f"kafka.client.{missing}; set it, or the variable {variable}"
    )


def _wanted(key: str, value: Any) -> str | None:
    """What the value ought to be; None when it fits the kind of kafka-python's default."""
    if key == "security_protocol":
        return None if value in SECURITY_PROTOCOLS else f"one of {', '.join(SECURITY_PROTOCOLS)}"
    if key == "sasl_mechanism":
        return None if value in SASL_MECHANISMS else f"one of {', '.join(SASL_MECHANISMS)}"
    default = known_defaults()[key]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(default, bool):
        return None if isinstance(value, bool) else "true or false"
    if isinstance(default, int | float) or key.endswith("_bytes"):
        return None if number else "a number"
    if takes_text(key):
        return None if isinstance(value, str) else "text, in quotes"
    return None if isinstance(value, list) else "an array"
