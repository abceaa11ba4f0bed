"""What writes Kafka."""
