"""The benchmark suite: ratios taken in one run, on the machine at hand. Not a test."""
