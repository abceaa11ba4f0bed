"""What a run or a figure was made on."""

import os
import platform

import torch

from streammeta import __version__


def machine() -> dict[str, str | int | None]:
    """Platform, processors, and the versions that numbers depend on."""
    return {
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "streammeta": __version__,
    }
