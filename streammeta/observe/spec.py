"""What is said of a metric."""

from typing import Literal, NamedTuple


class Spec(NamedTuple):
    """One metric: its name as exposed, and for a histogram the upper bounds of its buckets."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()
