"""The step alone: one MOML event of the sinusoid MLP (1761 parameters, K = 10), traced and eager."""

from collections.abc import Iterator
from functools import partial

import torch

from streammeta.benchmarks.result import Result, seconds_per_call
from streammeta.codec import decode, encode_json, encode_msgpack
from streammeta.config import load_config
from streammeta.datasets.sinusoid import Sinusoids, sinusoid
from streammeta.events import Batch, Episode, Record
from streammeta.runtime.assembly import build_brain


def steps() -> Iterator[Result]:
    """Seconds per update, and how much the trace gains over eager `torch.func`."""
    for order in ("second", "first"):
        traced, eager = _seconds(order)
        yield Result(f"step, {order} order, traced", 1e6 * traced, "µs")
        yield Result(f"step, {order} order, eager torch.func", 1e6 * eager, "µs")
        yield Result(f"eager / traced, {order} order", eager / traced, "ratio")


def _seconds(order: str) -> tuple[float, float]:
    """Of one update, traced and eager."""
    brain = build_brain(load_config(None, [f"algorithm.order={order}"], {}))
    _, arrays = next(sinusoid(Sinusoids()))
    one = brain.network.tensors(arrays)
    episode = Episode(*(Batch(batch.x[None], batch.y[None]) for batch in one))
    state = brain.learner.init(brain.network.initial)
    memory, seen = brain.network.initial[None], torch.ones(1)
    return (
        seconds_per_call(lambda: brain.steps.step(state, memory, seen, episode), calls=300),
        seconds_per_call(lambda: brain.learner.update(state, memory, seen, episode), calls=50),
    )


def codec() -> Iterator[Result]:
    """Seconds to decode an event of 10 + 10 examples."""
    task, episode = next(sinusoid(Sinusoids()))
    for form, encode in (("json", encode_json), ("msgpack", encode_msgpack)):
        headers = (("content-type", f"application/{form}".encode()),)
        record = Record("tasks", 0, 0, 0, task.encode(), encode(episode), headers)
        cost = seconds_per_call(partial(decode, record, max_bytes=1 << 20), calls=2000)
        yield Result(f"decode, {form}", 1e6 * cost, "µs")
