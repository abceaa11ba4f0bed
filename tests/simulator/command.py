"""`python -m tests.simulator SEEDS`: worlds by the thousand; a failing seed is printed with its plan.

SEEDS is a number of them, from 0, or `FIRST:END`. `--plant BUG` runs them with a planted bug; `--plant all`
prints how many seeds each bug takes to be found.
"""

import argparse
import multiprocessing
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from itertools import islice

import structlog

from tests.simulator.bugs import BUGS, planted
from tests.simulator.plan import draw
from tests.simulator.run import Result, run

REPORT_EVERY = 1000


def _quiet() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))


def _seeds(text: str) -> range:
    first, colon, end = text.partition(":")
    return range(int(first), int(end)) if colon else range(int(first))


def _run(job: tuple[int, str]) -> tuple[int, Result]:
    seed, bug = job
    with planted(bug) if bug else nullcontext():
        return seed, run(seed)


def _results(seeds: Iterable[int], bug: str, processes: int) -> Iterator[tuple[int, Result]]:
    jobs = ((seed, bug) for seed in seeds)
    if processes == 1:
        _quiet()
        yield from map(_run, jobs)
        return
    with multiprocessing.get_context("forkserver").Pool(processes, _quiet) as pool:
        yield from pool.imap(_run, jobs, chunksize=16)


def simulate(seeds: range, bug: str, processes: int) -> int:
    """All of them; the number that fail."""
    began, failed, lives, events = time.monotonic(), 0, 0, 0
    for count, (seed, result) in enumerate(_results(seeds, bug, processes), start=1):
        lives, events = lives + result.lives, events + result.events
        if result.failure:
            failed += 1
            print(f"seed {seed} fails: {result.failure}\n{draw(seed)}", flush=True)
        if count % REPORT_EVERY == 0 or count == len(seeds):
            minutes = (time.monotonic() - began) / 60
            print(
                f"{count} worlds, {lives} lives, {events} records applied in {minutes:.1f} min, "
                f"{failed} failing",
                flush=True,
            )
    return failed


def hunt(seeds: range, processes: int) -> int:
    """Each planted bug until it is found; a table, and the number of bugs that were not."""
    missed = 0
    for bug in BUGS:
        found = ((seed, result) for seed, result in _results(seeds, bug, processes) if result.failure)
        for seed, result in islice(found, 1):
            print(f"| {bug} | {seed - seeds.start + 1} | {result.failure.splitlines()[0]} |", flush=True)
            break
        else:
            missed += 1
            print(f"| {bug} | not found in {len(seeds)} | |", flush=True)
    return missed


def main() -> int:
    """The exit status: 1 when a seed fails, or a planted bug is not found."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator")
    parser.add_argument("seeds", type=_seeds, metavar="SEEDS", help="a number, or FIRST:END")
    parser.add_argument("--plant", default="", choices=["", "all", *BUGS])
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    if asked.plant == "all":
        return min(1, hunt(asked.seeds, asked.processes))
    return min(1, simulate(asked.seeds, asked.plant, asked.processes))
