"""What `[events]` configures: examples cut into episodes, episodes gathered into iterations."""
