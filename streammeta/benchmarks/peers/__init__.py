"""What an engineer would write, or take, instead: the same event by other hands, timed in the same run."""
