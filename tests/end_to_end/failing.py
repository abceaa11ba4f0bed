"""Factories that fail a challenger before it has learned anything."""

import os
import resource
import time
from pathlib import Path

from torch import nn

_ROOM_BYTES = 256 << 20


def raises() -> nn.Module:
    """Refuses."""
    raise ValueError("no such network")


def hangs() -> nn.Module:
    """Never returns."""
    while True:
        time.sleep(1.0)


def exits() -> nn.Module:
    """Ends the process."""
    os._exit(3)


def grows() -> nn.Module:
    """Takes more memory than the process may have."""
    in_use_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use_bytes + _ROOM_BYTES,) * 2)
    return nn.Linear(1 << 16, 1 << 16)
