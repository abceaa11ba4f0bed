"""Mutants of sound inputs, and what trying them may cost."""

import os
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

LONGEST_SECONDS: Final = 5.0
"""CPU that one input may take; kilobytes each, so that most take a thousandth."""
GROWTH_MB: Final = 256
"""Memory that the process may grow by over all inputs of a test."""


ANEW: Final = Path("/proc/self/clear_refs")


def count(few: int) -> int:
    """How many inputs to try: `few` in the gate."""
    return int(os.environ.get("FUZZ_INPUTS") or few)


def mutated(data: bytes, chance: random.Random, spice: Sequence[bytes]) -> bytes:
    """Up to three edits: a bit flipped, a slice dropped or doubled, something poisonous put in."""
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        here, there = sorted(chance.choices(range(len(data) + 1), k=2))
        match chance.choice((0, 0, 0, 1, 2, 3)):
            case 0 if data:
                here = min(here, len(data) - 1)
                data = data[:here] + bytes([data[here] ^ 1 << chance.randrange(8)]) + data[here + 1 :]
            case 1:
                data = data[:here] + data[there:]
            case 2 if there - here < 1 << 16:
                data = data[:there] + data[here:]
            case _:
                data = data[:here] + chance.choice(spice) + data[here:]
    return data


@contextmanager
def bounded() -> Iterator[None]:
    """A block that may not let the process grow by more than `GROWTH_MB`; `pytest -rP` shows by how much.

    Where the kernel does not tell, nothing is asserted.
    """
    if not ANEW.exists():
        yield
        return
    ANEW.write_text("5")  # the peak is counted from here
    before_kb = _peak_kb()
    yield
    grown_mb = (_peak_kb() - before_kb) / 1024
    print(f"grown by {grown_mb:.1f} MB")
    assert grown_mb < GROWTH_MB, f"grown by {grown_mb:.0f} MB"


def _peak_kb() -> int:
    """Largest resident memory, as the kernel counts it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


@contextmanager
def quick(what: object) -> Iterator[None]:
    """A block that may not take more CPU than one input may."""
    began = time.process_time()
    yield
    taken = time.process_time() - began
    assert taken < LONGEST_SECONDS, f"{taken:.1f} s for {what!r:.200}"
