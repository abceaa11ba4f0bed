"""Recordings: written, killed, read, replayed."""
