"""The sinusoid stream against its closed form."""

import math
from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streammeta.datasets.sinusoid import AMPLITUDE, PHASE, Sinusoids, sinusoid
from streammeta.events import Array, Batch
from tests.datasets.compare import first, frozen


def wave_of(batch: Batch[Array]) -> tuple[float, float, float]:
    """Amplitude, phase and root mean square residual of the best sinusoid through a batch."""
    x, y = batch.x[:, 0].astype(float), batch.y[:, 0].astype(float)
    design = np.stack([np.sin(x), np.cos(x)], axis=1)
    (sine, cosine), *_ = np.linalg.lstsq(design, y, rcond=None)
    residual = float(np.sqrt(np.mean((design @ [sine, cosine] - y) ** 2)))
    return math.hypot(sine, cosine), math.atan2(cosine, sine), residual


def test_every_task_is_one_sinusoid_within_the_ranges() -> None:
    """Without noise and drift each event lies on y = A sin(x + φ), the same A and φ at each visit."""
    seen: dict[str, tuple[float, float]] = {}
    for task, (support, query) in islice(sinusoid(Sinusoids(tasks=7, shots=6, query=9, seed=3)), 200):
        for batch in (support, query):
            amplitude, phase, residual = wave_of(batch)
            assert residual < 1e-5
            known = seen.setdefault(task, (amplitude, phase))
            assert (amplitude, phase) == pytest.approx(known, abs=1e-3)
        assert AMPLITUDE[0] - 1e-4 <= amplitude <= AMPLITUDE[1] + 1e-4
        assert PHASE[0] - 1e-3 <= phase <= PHASE[1] + 1e-3
    assert sorted(seen) == [f"sinusoid/{number}" for number in range(7)]
    assert len({round(amplitude, 3) for amplitude, _ in seen.values()}) == 7


def test_shapes_and_dtypes() -> None:
    """Columns of float32: K shots, Q query examples, x within [-5, 5] and spread over it."""
    events = list(islice(sinusoid(Sinusoids(shots=4, query=11)), 200))
    for _, (support, query) in events:
        assert [array.shape for array in (*support, *query)] == [(4, 1), (4, 1), (11, 1), (11, 1)]
        assert {array.dtype for array in (*support, *query)} == {np.dtype(np.float32)}
    x = np.concatenate([query.x for _, (_, query) in events])
    assert -5 <= x.min() < -4.9
    assert 4.9 < x.max() <= 5
    assert abs(x.mean()) < 0.2


def test_tasks_come_uniformly() -> None:
    """5,000 draws of 10 tasks: each within five standard deviations of 500."""
    counts = Counter(task for task, _ in islice(sinusoid(Sinusoids(tasks=10, seed=5)), 5_000))
    assert set(counts) == {f"sinusoid/{number}" for number in range(10)}
    assert max(abs(count - 500) for count in counts.values()) < 5 * math.sqrt(450)


def test_noise_has_its_standard_deviation() -> None:
    """The residual of a fit with two parameters over many examples is the noise asked for."""
    settings_ = Sinusoids(tasks=2, shots=1000, query=1000, noise=0.5, seed=1)
    residuals = [wave_of(query)[2] for _, (_, query) in islice(sinusoid(settings_), 10)]
    assert np.mean(residuals) == pytest.approx(0.5, rel=0.03)


def test_drift_is_a_random_walk_of_the_step_asked_for() -> None:
    """With one task, steps of A and φ have the standard deviation `drift` times their range, and no trend."""
    settings_ = Sinusoids(tasks=1, shots=50, query=50, drift=0.002, seed=2)
    waves = np.array([wave_of(query)[:2] for _, (_, query) in islice(sinusoid(settings_), 400)])
    steps = np.diff(waves, axis=0)
    spans = np.array([AMPLITUDE[1] - AMPLITUDE[0], PHASE[1] - PHASE[0]])
    assert steps.std(axis=0) / spans == pytest.approx([0.002, 0.002], rel=0.15)
    assert (np.abs(steps.mean(axis=0)) < 4 * 0.002 * spans / math.sqrt(400)).all()


def test_drift_stays_within_the_ranges() -> None:
    """Steps as wide as the range are turned back at its ends; amplitudes fill it."""
    settings_ = Sinusoids(tasks=2, shots=20, query=20, drift=1.0, seed=4)
    waves = np.array([wave_of(query)[:2] for _, (_, query) in islice(sinusoid(settings_), 500)])
    assert waves[:, 0].min() >= AMPLITUDE[0] - 1e-4
    assert waves[:, 0].max() <= AMPLITUDE[1] + 1e-4
    assert waves[:, 1].min() >= -1e-3
    assert waves[:, 1].max() <= PHASE[1] + 1e-3
    assert waves[:, 0].std() > 1.0


@settings(max_examples=30, deadline=None)
@given(
    start=st.integers(0, 60),
    noise=st.sampled_from([0.0, 0.3]),
    drift=st.sampled_from([0.0, 0.05]),
    seed=st.integers(0, 2**64),
)
def test_a_stream_can_be_entered_anywhere(start: int, noise: float, drift: float, seed: int) -> None:
    """Starting at event n gives the very events of the whole stream from n on."""
    asked = Sinusoids(tasks=5, shots=2, query=2, noise=noise, drift=drift, seed=seed)
    assert first(5, sinusoid(asked, start=start)) == first(start + 5, sinusoid(asked))[start:]


def test_seeds_and_tasks() -> None:
    """Another seed is another stream; a task's sinusoid does not depend on how many others there are."""
    assert first(5, sinusoid(Sinusoids(seed=1))) != first(5, sinusoid(Sinusoids(seed=2)))

    def wave(tasks: int) -> tuple[float, float]:
        events = sinusoid(Sinusoids(tasks=tasks, shots=20))
        return next(wave_of(support)[:2] for task, (support, _) in events if task == "sinusoid/1")

    assert wave(3) == pytest.approx(wave(30), abs=1e-4)


def test_events_are_independent_values() -> None:
    """A later event does not change the arrays of an earlier one."""
    stream = sinusoid(Sinusoids(tasks=1, drift=0.1))
    event = next(stream)
    before = frozen(event)
    next(stream)
    assert frozen(event) == before
