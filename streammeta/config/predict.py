"""What can be set about predictions in the stream: `[predict]`."""

from typing import Annotated

from pydantic import AfterValidator, Field

from streammeta.config.kafka import KafkaSection
from streammeta.config.section import Free, Section
from streammeta.config.values import topic_name


def _topic_or_none(name: str) -> str:
    return name and topic_name(name)


class PredictSection(Section):
    """Where records without labels are answered."""

    output_topic: Free[Annotated[str, AfterValidator(_topic_or_none)]] = Field(
        "",
        description=(
            "Topic for answers to records without labels, made where it is missing; empty: none are given."
        ),
    )


def refuse_loop(predict: PredictSection, kafka: KafkaSection) -> str:
    """Why answers must not go there; "" where they may."""
    topic = predict.output_topic
    if topic == kafka.topic:
        return "must differ from kafka.topic, or answers would be read as events"
    if topic and topic == kafka.dead_letter_topic:
        return (
            "must differ from kafka.dead_letter_topic, or `dlq replay` would meet answers among the letters"
        )
    return ""
