"""`ranks`: what a round costs by the size of the model, and two ranks against one.

Ranks are processes over gloo on the loopback. Rates are of wall time and follow the machine's other load; the
processor's time of an event does not. How much more two processes do than one, whatever they do, is measured
here beside them: two daemons that know nothing of each other, and two loops of NumPy.
"""

import os
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from streammeta.benchmarks.apart import apart
from streammeta.benchmarks.daemons import Marks, configured, generated
from streammeta.benchmarks.rows import Plan, Row, Size
from streammeta.benchmarks.turns import Rounds
from streammeta.distributed.place import Place, placed
from streammeta.distributed.torch_group import join
from streammeta.programs.daemon import run_daemon
from streammeta.programs.ranks import Ranks

EVENTS: dict[Size, int] = {"small": 300, "usual": 2000, "full": 20_000}
"""Of a rank."""
NUMBERS: dict[Size, tuple[int, ...]] = {
    "small": (1000,),
    "usual": (1000, 10_000, 100_000, 1_000_000, 10_000_000),
    "full": (1000, 10_000, 100_000, 1_000_000, 10_000_000),
}
"""Of a meta-model with its outer state."""
ROUNDS: dict[Size, int] = {"small": 2, "usual": 10, "full": 50}
TURNS: dict[Size, int] = {"small": 1, "usual": 5, "full": 9}
"""Runs of each that learns."""
SUMS_SECONDS: dict[Size, float] = {"small": 0.1, "usual": 3.0, "full": 10.0}
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
    yield from _learning(plan)


def _learning(plan: Plan) -> Iterator[Row]:
    events, seconds = EVENTS[plan.size], SUMS_SECONDS[plan.size]
    learn, sums = (
        partial(together, does="learn", events=events),
        partial(together, does="sums", seconds=seconds),
    )
    taken = _by_turns(
        {
            "one rank": lambda: learn(1, overlap=False),
            "two ranks": lambda: learn(2, overlap=False),
            "two ranks, overlap": lambda: learn(2, overlap=True),
            "two daemons apart": lambda: _at_once(lambda: learn(1, overlap=False)),
            "one loop of NumPy": lambda: sums(1),
            "two loops of NumPy": lambda: sums(2),
        },
        plan.rounds_of(TURNS),
    )
    for name in [*taken][:4]:
        rates, spent = taken[name]
        yield rates.row(f"{name}, rounds of {ROUND_EVENTS}: rate", "events/s")
        yield spent.row(f"{name}: processor time", "µs/event", 1e6)
    for more, fewer in (
        ("two ranks", "one rank"),
        ("two ranks, overlap", "one rank"),
        ("two daemons apart", "one rank"),
        ("two ranks", "two daemons apart"),
        ("two loops of NumPy", "one loop of NumPy"),
    ):
        note = f"{os.cpu_count()} processors"
        yield taken[more][0].over(taken[fewer][0]).row(f"{more} / {fewer}: rate", "ratio", note=note)
    spent = taken["two ranks"][1].over(taken["one rank"][1])
    yield spent.row("two ranks / one rank: processor time of an event", "ratio")


def _by_turns(does: Mapping[str, Callable[[], list[Any]]], rounds: int) -> dict[str, tuple[Rounds, Rounds]]:
    """By name, round by round: the rate of all processes together; the processor's seconds of one event."""
    rates: dict[str, list[float]] = {name: [] for name in does}
    spent: dict[str, list[float]] = {name: [] for name in does}
    for _ in range(rounds):
        for name, processes in does.items():
            of_each, its = zip(*processes(), strict=True)
            rates[name].append(sum(of_each))
            spent[name].append(statistics.fmean(its))
    return {name: (Rounds((*rates[name],)), Rounds((*spent[name],))) for name in does}


def _at_once(process: Callable[[], list[Any]]) -> list[Any]:
    with ThreadPoolExecutor(2) as pool:
        return [one for found in pool.map(lambda _: process(), range(2)) for one in found]


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
    if does == "exchanges":
        return _exchanges(at, **arguments)
    return _learn(at, **arguments) if does == "learn" else _sums(**arguments)


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


def _sums(folder: str, seconds: float) -> tuple[float, float]:
    """As `_learn`, of a loop of NumPy that all ranks begin together."""
    del folder
    group = join(_TIMEOUT_SECONDS, torch.device("cpu"), lambda _: None, lambda: True)
    numbers, done = np.linspace(-1.0, 1.0, 4000), 0
    group.gather("ready", b"", lambda _: None)
    began, spent = time.perf_counter(), time.process_time()
    while (taken := time.perf_counter() - began) < seconds:
        np.tanh(numbers)
        done += 1
    spent = time.process_time() - spent
    group.gather("over", b"", lambda _: None)
    group.close()
    return done / taken, spent / done
