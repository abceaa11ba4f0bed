"""The feed: the records that one learner applied, in its order, for others that learn beside it."""
