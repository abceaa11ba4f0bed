"""The brokers of `tests/brokers`, here too."""

from tests.brokers.conftest import kafka_broker, secure_kafka_broker, tansu

__all__ = ["kafka_broker", "secure_kafka_broker", "tansu"]
