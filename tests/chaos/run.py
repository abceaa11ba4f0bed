"""One seed, from the first record to the verdict."""

import time
from pathlib import Path

from tests.chaos.plan import Size, deeds
from tests.chaos.stage import LEARNER, staged
from tests.chaos.stream import QUERY, SHOTS
from tests.chaos.verdict import judge
from tests.end_to_end.program import succeed

COMPILED_SECONDS = 900.0


def run(folder: Path, size: Size, seed: int, cache: Path | None = None) -> dict[str, float]:
    """Do the plan of this seed and judge what came of it; its figures.

    `cache`: of compiled steps, which take over from traced ones on the way; None: all are traced.

    Raises:
        AssertionError: something did not hold; the folder has the state, the recording and the logs.
    """
    began = time.monotonic()
    with staged(folder, size, seed, cache) as stage:
        for deed in deeds(size, seed):
            stage.do(deed)
        stage.finish()
        found = judge(stage)
        longest = {f"{what} (s)": max(seconds) for what, seconds in stage.seconds.items()}
        done = {"connections cut": stage.proxy.cuts, "freezes with letters": stage.freezes_with_letters}
        return {"seconds": time.monotonic() - began, **done, **found, **longest}


def compile_steps(size: Size, cache: Path) -> None:
    """Compile ahead, as a user may: steps take over at the first event of each shape.

    30 to 120 s each; a machine that has more to do takes longer, as the compiler stands back.
    """
    settings = [f"--set={key}={value}" for key, value in {**LEARNER, "engine.cache_dir": cache}.items()]
    for shots in SHOTS[: size.shapes]:
        sizes = ["--x", 1, "--y", 1, "--support", shots, "--query", QUERY]
        succeed("compile", *settings, *sizes, within_seconds=COMPILED_SECONDS)
