"""Records from Kafka and refused ones to it; names for what its client hides."""
