"""What reads Kafka: each module wires a source, the engine, a store and observers."""
