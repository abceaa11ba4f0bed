"""Streams of tasks, from closed forms and from data sets."""
