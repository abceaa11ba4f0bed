"""`ranks`: what a round costs by the size of the model, and two ranks against one.

Ranks are processes over gloo on the loopback. Rates are of wall time and follow the machine's other load; the
processor's time of an event does not.
"""

import os
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch

from streammeta.benchmarks.apart import apart
from streammeta.benchmarks.daemons import Marks, configured, generated
from streammeta.benchmarks.rows import Plan, Row, Size
from streammeta.distributed.place import Place, placed
from streammeta.distributed.torch_group import join
from streammeta.programs.daemon import run_daemon
from streammeta.programs.ranks import Ranks

EVENTS: dict[Size, int] = {"small": 60, "usual": 2000, "full": 20_000}
"""Of a rank."""
NUMBERS: dict[Size, tuple[int, ...]] = {
    "small": (1000,),
    "usual": (1000, 10_000, 100_000, 1_000_000, 10_000_000),
    "full": (1000, 10_000, 100_000, 1_000_000, 10_000_000),
}
"""Of a meta-model with its outer state."""
ROUNDS: dict[Size, int] = {"small": 2, "usual": 10, "full": 50}
WORLDS: Final = (2, 4)
ROUND_EVENTS: Final = 100
_TASKS: Final = 100
_TIMEOUT_SECONDS: Final = 300.0


def ranks(plan: Plan) -> Iterator[Row]:
    """What a round takes; rates and processor time of one rank, two, and two whose rounds overlap."""
    for world in WORLDS:
        found = together(world, "exchanges", numbers=NUMBERS[plan.size], rounds=plan.rounds_of(ROUNDS))
        for place, numbers in enumerate(NUMBERS[plan.size]):
            slowest = [rank[place] for rank in found]
            name = f"round of {numbers:,} numbers, {world} ranks"
            yield Row(name, 1e3 * statistics.fmean(one[0] for one in slowest), "ms")
            spent = 1e6 * statistics.fmean(one[1] for one in slowest)
            yield Row(f"{name}: processor time of a rank", spent, "µs")
    events = EVENTS[plan.size]
    alone, two, over = (
        together(world, "learn", events=events, overlap=overlap)
        for world, overlap in ((1, False), (2, False), (2, True))
    )
    for name, one in (("one rank", alone), ("two ranks", two), ("two ranks, overlap", over)):
        yield Row(f"{name}, rounds of {ROUND_EVENTS}: rate", sum(r[0] for r in one), "events/s")
        yield Row(f"{name}: processor time", 1e6 * statistics.fmean(r[1] for r in one), "µs/event")
    rate, spent = (sum(r[0] for r in two) / alone[0][0], statistics.fmean(r[1] for r in two) / alone[0][1])
    yield Row("two ranks over one: rate", rate, "ratio", note=f"{os.cpu_count()} processors")
    yield Row("two ranks over one: processor time of an event", spent, "ratio")


def together(world: int, does: str, **arguments: Any) -> list[Any]:
    """Have each rank of a group, a process each, do this; what each returned."""
    with socket.socket() as probe, tempfile.TemporaryDirectory() as folder:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        call = partial(
            apart, __name__, "as_rank", world=world, port=port, does=does, folder=folder, **arguments
        )
        with ThreadPoolExecutor(world) as pool:
            return [*pool.map(lambda rank: call(rank=rank), range(world))]


def as_rank(rank: int, world: int, port: int, does: str, **arguments: Any) -> Any:
    """Be this rank."""
    place = {"RANK": rank, "WORLD_SIZE": world, "LOCAL_RANK": rank, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()})
    os.environ.update({"MASTER_ADDR": "127.0.0.1", "LOCAL_WORLD_SIZE": str(world)})
    at = Place(rank, world, rank)
    return _exchanges(at, **arguments) if does == "exchanges" else _learn(at, **arguments)


def _exchanges(place: Place, folder: str, numbers: list[int], rounds: int) -> list[tuple[float, float]]:
    """Medians of the seconds, and of the processor's, of a round's words and mean."""
    del folder
    group = join(_TIMEOUT_SECONDS, torch.device("cpu"), lambda _: None, lambda: True)
    found = []
    for size in numbers:
        own, taken = torch.rand(size), []
        for number in range(rounds + 1):
            group.gather(f"ready/{size}/{number}", b"", lambda _: None)
            began, spent = time.perf_counter(), time.process_time()
            group.gather(f"round/{size}/{number}", b"word" * 20, lambda _: None)
            group.mean(own, 1 / place.world, lambda _: None)
            taken.append((time.perf_counter() - began, time.process_time() - spent))
        walls, spents = zip(*taken[1:], strict=True)
        found.append((statistics.median(walls), statistics.median(spents)))
    group.gather("over", b"", lambda _: None)
    group.close()
    return found


def _learn(place: Place, folder: str, events: int, *, overlap: bool) -> tuple[float, float]:
    """Events a second, and the processor's seconds of an event, once the first fifth is learned."""
    settings = (f"distributed.round_events={ROUND_EVENTS}", f"distributed.overlap={str(overlap).lower()}")
    config = placed(configured(Path(folder) / "state", "off", settings), place)
    spent: list[float] = []
    marks = Marks(at_checkpoint=lambda: spent.append(time.process_time()))
    run_daemon(
        config,
        read_config=lambda: config,
        connect=generated(events, lambda number: b"%d/%d" % (place.rank, number % _TASKS)),
        taping=marks.begin,
        until_end=True,
        ranks=Ranks.at(place),
    )
    first = next(at for at, mark in enumerate(marks.checkpoints) if mark[1] >= events // 5)
    last = len(spent) - 1
    learned = marks.checkpoints[last][1] - marks.checkpoints[first][1]
    return 1 / marks.event_seconds(events // 5), (spent[last] - spent[first]) / learned
