"""`make chaos SEEDS=10`: the long form, one seed after the other, a line each; then the overload."""

import argparse
import json
import shutil
import sys
import tempfile
import traceback
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.brokers.broker import ApacheKafka
from tests.chaos.overload import overload
from tests.chaos.plan import LONG, SHORT
from tests.chaos.run import compile_steps, run

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> int:
    """How many seeds failed; the folders of those are kept and named."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--compiled", action="store_true", help="let compiled steps take over on the way")
    parser.add_argument("--short", action="store_true", help="the plans of the gate")
    parser.add_argument("--overload", type=float, default=600.0, metavar="SECONDS", help="0: not at all")
    options = parser.parse_args()
    size = SHORT if options.short else LONG
    root, failed = Path(tempfile.mkdtemp(prefix="chaos-")), 0
    cache = root / "compiled" if options.compiled else None
    if cache is not None:
        compile_steps(size, cache)
    runs: dict[str, Callable[[Path], dict[str, float]]] = {
        f"seed-{seed}": partial(run, size=size, seed=seed, cache=cache)
        for seed in range(options.first, options.first + options.seeds)
    }
    if options.overload:
        runs["overload"] = partial(overloaded, seconds=options.overload)
    for name, do in runs.items():
        folder = root / name
        folder.mkdir()
        try:
            figures = {figure: float(f"{number:.3g}") for figure, number in do(folder).items()}
            sys.stdout.write(json.dumps({"run": name} | figures) + "\n")
            sys.stdout.flush()
            shutil.rmtree(folder)
        except Exception:  # noqa: BLE001 - whatever ends a run is shown, and the next one begun
            failed += 1
            traceback.print_exc()
            sys.stderr.write(f"{name} failed; see {folder}\n")
    return failed


def overloaded(folder: Path, seconds: float) -> dict[str, float]:
    """With a broker of its own."""
    with closing(ApacheKafka(folder / "kafka")) as kafka:
        return overload(kafka.broker, folder, seconds)


if __name__ == "__main__":
    sys.exit(main())
