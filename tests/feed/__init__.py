"""The feed between a champion and its challengers."""
