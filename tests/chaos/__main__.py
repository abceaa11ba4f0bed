"""`make chaos SEEDS=10`: the long form, one seed after the other, a line of figures each."""

import argparse
import json
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

from tests.chaos.plan import LONG
from tests.chaos.run import compile_steps, run


def main() -> int:
    """How many seeds failed; the folders of those are kept and named."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--compiled", action="store_true", help="let compiled steps take over on the way")
    options = parser.parse_args()
    root, failed = Path(tempfile.mkdtemp(prefix="chaos-")), 0
    cache = root / "compiled" if options.compiled else None
    if cache is not None:
        compile_steps(LONG, cache)
    for seed in range(options.first, options.first + options.seeds):
        folder = root / f"seed-{seed}"
        try:
            figures = {"seed": seed} | {
                name: float(f"{x:.3g}") for name, x in run(folder, LONG, seed, cache).items()
            }
            sys.stdout.write(json.dumps(figures) + "\n")
            sys.stdout.flush()
            shutil.rmtree(folder)
        except Exception:  # noqa: BLE001 - whatever ends a seed is shown, and the next one begun
            failed += 1
            traceback.print_exc()
            sys.stderr.write(f"seed {seed} failed; see {folder}\n")
    return failed


if __name__ == "__main__":
    sys.exit(main())
