"""One event of the engine, all that it reports, against the same event by other hands, in one run."""

from collections.abc import Iterator

from streammeta.benchmarks.blocks import by_turns, results
from streammeta.benchmarks.peers.catalogue import PEERS, missing
from streammeta.benchmarks.peers.problem import Event, Problem, problem
from streammeta.benchmarks.result import Result
from streammeta.config import load_config
from streammeta.errors import ConfigError
from streammeta.events import TaskEvent
from streammeta.learner.engine import Engine
from streammeta.learner.executors.compiled import CompiledSteps
from streammeta.learner.executors.serving import Executors
from streammeta.runtime.assembly import build_brain, restore
from streammeta.runtime.compiling import compiled_steps_cache
from streammeta.state.memories import Memories
from streammeta.state.memory_store import MemoryStore

CHUNK = 64
"""Events of a poll."""
EVENTS = 256


def events() -> Iterator[Result]:
    """Microseconds an event by turns; the engine's hold all but Kafka, decoding, observers and commits."""
    made = problem(EVENTS)
    contenders, ours = {"engine, traced": _engine(made, None)}, "engine, traced"
    try:
        cache = compiled_steps_cache(load_config(None, [], {}))
        contenders["engine, compiled"] = _engine(made, CompiledSteps(cache))
        ours = "engine, compiled"
    except ConfigError as error:
        yield Result(f"compiled: {error}", float("nan"), "missing")
    per_call = dict.fromkeys(contenders, CHUNK)
    for name, peer in PEERS.items():
        if missing(peer):
            yield Result(f"{name}: {peer.package} is not installed", float("nan"), "missing")
            continue
        contenders[name], per_call[name] = peer.make(made), peer.per_call
    yield from results(by_turns(contenders, events=EVENTS, per_call=per_call), ours)


def _engine(made: Problem, compiled: CompiledSteps | None) -> Event:
    """A chunk a call: placed, learned one after the other, folded."""
    brain, store = build_brain(load_config(None, [], {})), MemoryStore()
    begun, empty = restore(brain, store), brain.network.initial.new_zeros(brain.learner.memory_size)
    memories = Memories(store.get_many, empty, 1000)
    executors = Executors(brain.steps, compiled, required=compiled is not None)
    engine = Engine(brain.network, brain.steps, begun.state, begun.progress, memories, executors=executors)
    given = [
        TaskEvent(f"task-{task}", episode, 0) for task, episode in zip(made.tasks, made.episodes, strict=True)
    ]

    def chunk(number: int) -> None:
        tasks = [event.task for event in given[number : number + CHUNK]]
        placed = [engine.place(event) for event in given[number : number + CHUNK]]
        engine.load(tasks)
        for one in placed:
            engine.learn([one])
        engine.fold(tasks)

    chunk(0)
    for name in executors.look():
        executors.switch(name)
    return chunk
