"""What writes Kafka: streams of tasks, from closed forms and from data sets."""
