"""What writes Kafka: events as records, sent, put back, replayed in transactions."""
