"""Meta-learners and outer optimisers as pure functions over flat parameters."""
