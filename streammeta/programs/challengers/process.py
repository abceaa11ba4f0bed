"""A challenger's process: `python -m streammeta.programs.challengers.process SIGNS REPORTS`, two descriptors.

It comes second in everything: lower priority, the first that the kernel ends when memory is short, and ended
with the champion. Its state is as durable as any daemon's: it may be killed at any moment.
"""

import os
import sys
from contextlib import suppress
from pathlib import Path

NICENESS = 10
OUT_OF_MEMORY_SCORE = 800
"""Added to what the kernel chooses by; a process may always raise its own."""


def main(signs: int, reports: int) -> int:
    """Learn until the champion says stop, or is gone; the exit code."""
    os.nice(NICENESS)
    for descriptor in (signs, reports):
        os.set_inheritable(descriptor, False)
    with suppress(OSError), Path("/proc/self/oom_score_adj").open("w") as score:
        score.write(str(OUT_OF_MEMORY_SCORE))
    # Imported here: what follows takes seconds, and the champion is at work.
    from streammeta.programs.challengers.learning import learn

    return learn(signs, reports)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
