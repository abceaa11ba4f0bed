"""The daemon against an independent re-implementation."""

from itertools import islice
from pathlib import Path

import numpy as np

from streammeta.datasets.sinusoid import Sinusoids, sinusoid
from tests.brokers.broker import Broker, fresh
from tests.end_to_end import reference
from tests.end_to_end.program import Daemon, succeed

EVENTS = 500


def test_the_reference_has_the_right_derivatives() -> None:
    """Its gradient and Hessian product agree with central differences."""
    draws = np.random.default_rng(0)
    flat = reference.first_parameters(3)
    examples = (draws.uniform(-5, 5, (10, 1)), draws.normal(size=(10, 1)))
    assert np.linalg.norm(reference.gradient(flat, examples)) > 1e-2
    direction = draws.normal(size=flat.size)
    assert np.linalg.norm(reference.hessian_product(flat, direction, examples)) > 1e-2
    slope_error, turn_error = reference.check_derivatives(flat, direction, examples)
    assert slope_error < 1e-7
    assert turn_error < 1e-6


def test_daemon_agrees_after_500_events(tansu: Broker, tmp_path: Path) -> None:
    """Kafka, codec, engine, store and export in float64 end where plain loops end, to 1e-10."""
    topic = tansu.create(fresh("reference"))
    stream = ["--tasks", 7, "--shots", 6, "--query", 8, "--seed", 5]
    target = ["--bootstrap-servers", tansu.bootstrap_servers, "--topic", topic]
    succeed("produce", "sinusoid", *stream, "--events", EVENTS, *target)
    settings = {
        "kafka.bootstrap_servers": tansu.bootstrap_servers,
        "kafka.topic": topic,
        "model.dtype": "float64",
        "model.seed": 11,
        "algorithm.inner_lr": 0.01,
        "algorithm.beta": 0.3,
        "outer.lr": 0.002,
        "outer.momentum": 0.8,
        "outer.clip_norm": 10.0,
        "state.checkpoint_events": 70,
    }
    with Daemon(tmp_path / "state", settings) as daemon:
        daemon.run_to_end()
        exported = daemon.export()
    events = [
        (
            task,
            (episode.support.x.astype(float), episode.support.y.astype(float)),
            (episode.query.x.astype(float), episode.query.y.astype(float)),
        )
        for task, episode in islice(sinusoid(Sinusoids(tasks=7, shots=6, query=8, seed=5)), EVENTS)
    ]
    w, memories = reference.moml(
        events, reference.first_parameters(11), alpha=0.01, beta=0.3, eta=0.002, momentum=0.8, clip=10.0
    )
    names = [f"{layer}.{kind}" for layer in (0, 2, 4) for kind in ("weight", "bias")]
    assert not reference.close(w, reference.first_parameters(11), 1e-2)
    assert len(memories) == 7
    for prefix, expected in [("meta", w), *((f"task/{task}", u) for task, u in memories.items())]:
        found = np.concatenate([exported[f"{prefix}/{name}"].ravel() for name in names])
        assert reference.close(found, expected, 1e-10), prefix
    assert len(exported) == (1 + len(memories)) * len(names)
