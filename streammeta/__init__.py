"""Continual meta-learning on Kafka streams."""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streammeta.api import Learner as Learner
    from streammeta.api import load_export as load_export

__version__ = version("streammeta")


def __getattr__(name: str) -> Any:
    """What needs torch is imported when it is first asked for: the command line starts without."""
    if name in ("Learner", "load_export"):
        from streammeta import api

        return getattr(api, name)
    raise AttributeError(f"module 'streammeta' has no attribute {name!r}")
