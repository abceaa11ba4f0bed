"""The stream against real brokers: the embedded one always, Apache Kafka where it is at hand."""
