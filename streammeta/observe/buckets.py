"""A Prometheus histogram that takes many values at once.

`prometheus_client.Histogram` observes one value at a time, some 2 µs each under a lock; a chunk brings
hundreds of each kind. This one counts them by bucket in NumPy, and is a collector like any other.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.registry import Collector

from streammeta.learner.folding import Numbers
from streammeta.observe.spec import Spec


class Buckets(Collector):
    """A histogram: one series of buckets for each of `labels`, or one without a label.

    Written by the loop, read by other threads: an array is replaced whole, with its sum in its last place.
    """

    def __init__(self, spec: Spec, registry: CollectorRegistry, labels: Sequence[str] = ()) -> None:
        self._spec = spec
        self._bounds = np.array(spec.buckets)
        self._series = {label: np.zeros(len(spec.buckets) + 2) for label in labels or ("",)}
        registry.register(self)

    def observe(self, values: Numbers, label: str = "") -> None:
        """Count these values."""
        places = np.searchsorted(self._bounds, values)  # a bound belongs to its bucket
        counted = np.bincount(places, minlength=len(self._bounds) + 2).astype(np.float64)
        counted[-1] = values.sum()
        self._series[label] = self._series[label] + counted

    def observe_all(self, value: float, count: int, label: str = "") -> None:
        """Count the value so many times."""
        series = self._series[label].copy()
        series[np.searchsorted(self._bounds, value)] += count
        series[-1] += value * count
        self._series[label] = series

    def describe(self) -> Iterable[HistogramMetricFamily]:
        """The family without samples."""
        return [HistogramMetricFamily(self._spec.name, self._spec.help, labels=self._spec.labels)]

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """The family: buckets count what is at most their bound."""
        (family,) = self.describe()
        bounds = [str(bound) for bound in self._spec.buckets] + ["+Inf"]
        for label, series in self._series.items():
            counts = np.cumsum(series[:-1]).tolist()
            family.add_metric(
                [label] if self._spec.labels else [], [*zip(bounds, counts, strict=True)], series[-1].item()
            )
        return [family]
