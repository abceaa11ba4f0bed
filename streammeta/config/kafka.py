"""What can be set about the stream: `[kafka]`."""

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from streammeta.config.section import Free, Section
from streammeta.config.values import ClientSettings, ServerList, TopicName


class KafkaSection(Section):
    """Where events come from, and where those that cannot be used go."""

    bootstrap_servers: Free[ServerList] = Field(
        "localhost:9092", description="Brokers to ask first: host:port, several separated by commas."
    )
    topic: TopicName = Field("tasks", description="The topic to learn from; partitioned by task.")
    group_id: Free[str] = Field(
        "streammeta",
        min_length=1,
        description="Offsets are also committed to this group, for lag tools; recovery uses the state's own.",
    )
    start: Free[Literal["earliest", "latest"]] = Field(
        "earliest", description="Where a new state begins to read."
    )
    on_lost_offsets: Free[Literal["fail", "earliest", "latest"]] = Field(
        "fail", description="What to do when the log no longer holds the next offset."
    )
    dead_letter_topic: Free[TopicName] = Field(
        default_factory=lambda known: known.get("topic", "tasks") + ".dlq",
        validate_default=True,
        description="Where records that cannot be used are put; when absent, the topic's name with .dlq.",
    )
    max_event_bytes: Free[int] = Field(
        8_388_608,
        ge=1,
        le=2**31 - 1,
        description="Bytes of the largest value that is used; larger ones are dead letters.",
    )
    max_batch_bytes: Free[int] = Field(
        67_108_864,
        ge=1,
        le=2**31 - 1,
        description=("Bytes that a compressed batch may expand to; the records beyond are dead letters."),
    )
    on_corrupt: Free[Literal["fail", "skip"]] = Field(
        "fail",
        description=(
            "What to do when a batch in the log is damaged: fail, or skip it with a dead letter that says so."
        ),
    )
    connect_timeout_seconds: Free[float] = Field(
        30.0, gt=0, description="Seconds that the first connection may take before the daemon gives up."
    )
    refused_grace_seconds: Free[float] = Field(
        60.0,
        ge=0,
        description=(
            "Seconds that a refused login or certificate is borne, for a rotation's sake; then exit 77."
        ),
    )
    client: Free[ClientSettings] = Field(
        {},
        description="Passed to kafka-python as they are: security_protocol, ssl_*, sasl_*, *_ms, *_bytes.",
        examples=[
            {
                "security_protocol": "SASL_SSL",
                "ssl_cafile": "/etc/streammeta/ca.pem",
                "sasl_mechanism": "SCRAM-SHA-512",
                "sasl_plain_username": "streammeta",
            }
        ],
    )

    @field_validator("dead_letter_topic")
    @classmethod
    def _elsewhere(cls, name: str, info: ValidationInfo) -> str:
        if name == info.data.get("topic"):
            raise ValueError("must differ from kafka.topic, or dead letters would be read as events")
        return name
