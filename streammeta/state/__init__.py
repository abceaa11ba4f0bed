"""Task memories, meta state and offsets, in one atomic commit."""
