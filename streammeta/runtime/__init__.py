"""The loop around the learner: records in, iterations applied, checkpoints committed."""
