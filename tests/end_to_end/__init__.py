"""The program as a user runs it: command line, real brokers, real kills."""
