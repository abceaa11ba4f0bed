"""Short runs of the papers' experiments: the facts that they must show."""
