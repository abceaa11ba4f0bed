"""Challengers: other configurations that learn from the records that a champion applied, beside it.

A challenger is a process of its own with a state of its own. It reads the champion's feed, never the topic
(but for what the feed lacks), sends no dead letters and commits no offsets. The champion never waits for it.
"""
