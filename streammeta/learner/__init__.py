"""The learner at work: the engine, and the steps that it takes, traced once for each shape."""
