"""Predictions: what is asked, the one whole state that answers, and the answer. Nothing here learns.

`asking` holds the values, `predictor` answers many at once, `functions` computes, `commits` gives the states
of a store's commits, `live` that of an engine, `wire` reads requests and writes answers.
"""
