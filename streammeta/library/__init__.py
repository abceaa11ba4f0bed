"""The learner in a program of the user's: no Kafka, no process of its own; the same engine, bit for bit."""
