"""The sine waves of the memory-based papers."""
