"""Sinusoid regression, the textbook stream of tasks: y = A sin(x + φ) + noise, one A and φ a task.

Pure: no clock, no I/O; the n-th event is a function of the settings and n.
Source: Finn, Abbeel, Levine 2017, arXiv:1703.03400, section 5.1.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from streammeta.datasets.event_random import event_generators
from streammeta.events import Array, Batch, Episode

AMPLITUDE = (0.1, 5.0)
PHASE = (0.0, math.pi)
X = (-5.0, 5.0)
_LOW = np.array([AMPLITUDE[0], PHASE[0]])
_SPAN = np.array([AMPLITUDE[1] - AMPLITUDE[0], PHASE[1] - PHASE[0]])


@dataclass(frozen=True, slots=True)
class Sinusoids:
    """What the stream is made of.

    Attributes:
        tasks: How many; ids `sinusoid/0` and up. A task is the same whatever their number.
        shots, query: Examples in the support set and in the query set, at least 1.
        noise: Standard deviation of the noise on y.
        drift: Standard deviation of the step that amplitude and phase take at each event of the task, as a
            share of their ranges; 0.01 crosses the range in some 10,000 events. The walk turns at the ends.
        seed: Of everything.
    """

    tasks: int = 100
    shots: int = 10
    query: int = 10
    noise: float = 0.0
    drift: float = 0.0
    seed: int = 0


def sinusoid(settings: Sinusoids, *, start: int = 0) -> Iterator[tuple[str, Episode[Array]]]:
    """Events without end, from event number `start` on; tasks are drawn uniformly at random.

    Arrays are float32 of shape (examples, 1). An event costs some 20 µs; a later `start` costs nothing
    without drift, and some 7 µs an event passed over with it.

    >>> task, episode = next(sinusoid(Sinusoids(tasks=3, shots=5, seed=1)))
    >>> task, episode.support.x.shape, episode.query.y.dtype
    ('sinusoid/1', (5, 1), dtype('float32'))
    """
    waves = _first_waves(settings)
    for number, random in event_generators(settings.seed, 0 if settings.drift else start):
        task = int(random.integers(settings.tasks))
        if settings.drift:
            waves[task] += settings.drift * random.standard_normal(2)
        if number >= start:
            yield f"sinusoid/{task}", _episode(settings, waves[task], random)


def _first_waves(settings: Sinusoids) -> Array:
    """Amplitude and phase of each task at first, (tasks, 2), in shares of their ranges."""
    # A second seed word, so that the tasks share no number with the events.
    return np.random.default_rng([settings.seed, 1]).random((settings.tasks, 2))


def _episode(settings: Sinusoids, wave: Array, random: np.random.Generator) -> Episode[Array]:
    amplitude, phase = _LOW + _SPAN * _reflected(wave)
    x = random.uniform(*X, (settings.shots + settings.query, 1))
    y = amplitude * np.sin(x + phase)
    if settings.noise:
        y += settings.noise * random.standard_normal(y.shape)
    x, y = x.astype(np.float32), y.astype(np.float32)
    shots = settings.shots
    return Episode(Batch(x[:shots], y[:shots]), Batch(x[shots:], y[shots:]))


def _reflected(walk: Array) -> Array:
    """The free walk folded into [0, 1]: at an end it turns back.

    >>> _reflected(np.array([0.25, 1.25, -0.25, 2.25]))
    array([0.25, 0.75, 0.25, 0.25])
    """
    return 1.0 - np.abs(1.0 - walk % 2.0)
