"""What machine figures were taken on."""

import os
import platform

import torch


def machine() -> dict[str, str | int | None]:
    """Platform, processors, Python and torch."""
    return {
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
