"""Counters of the catalogue, made once a registry, with all of a closed label set from the start."""

from prometheus_client import CollectorRegistry, Counter

from streammeta.observe.catalogue import CATALOGUE, CLOSED_LABELS

_SPECS = {spec.name: spec for spec in CATALOGUE}


def counter(registry: CollectorRegistry, name: str) -> Counter:
    """One without labels."""
    return Counter(name, _SPECS[name].help, registry=registry)


def counters(registry: CollectorRegistry, name: str, *leading: str) -> dict[str, Counter]:
    """Those of a closed label set, by it; `leading` are the values of the labels before it."""
    family = _labelled(registry, name)
    return {value: family.labels(*leading, value) for value in CLOSED_LABELS[name]}


def by_source(registry: CollectorRegistry, name: str, *sources: str) -> list[dict[str, Counter]]:
    """The same for each of these values of the one label before it."""
    family = _labelled(registry, name)
    return [{value: family.labels(source, value) for value in CLOSED_LABELS[name]} for source in sources]


def _labelled(registry: CollectorRegistry, name: str) -> Counter:
    spec = _SPECS[name]
    return Counter(spec.name, spec.help, spec.labels, registry=registry)
