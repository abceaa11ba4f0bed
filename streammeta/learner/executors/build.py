"""The compile process: an exported update in, a library out.

    python -m streammeta.learner.executors.build DIRECTORY [--beside]

    DIRECTORY/update.pt2      the update, as `torch.export.save` wrote it
    DIRECTORY/request.json    {"state_count", "predicts", "forms", "threads"}
    DIRECTORY/step.so         the winner
    DIRECTORY/result.json     {"form", "microseconds": {form: …}, "seconds"}

`--beside`: other work goes on meanwhile, and goes first. It ends when its standard input does, with all that
it started: whoever started it holds the other end.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from streammeta.learner.executors.chunk import chunk_step, example_chunk
from streammeta.learner.executors.forms import FORMS

LEAST_PRIORITY: Final = 19
_CALLS: Final = 200
_BLOCKS: Final = 7


def main(directory: Path) -> None:
    """Compile the request in every form that it names, and keep the fastest."""
    begun = time.monotonic()
    request = json.loads((directory / "request.json").read_text())
    torch.set_num_threads(request["threads"])
    exported = torch.export.load(directory / "update.pt2")
    update, state_count = exported.module(), request["state_count"]
    chunk = _example(update, exported.example_inputs[0], state_count, predicts=request["predicts"])
    libraries = {form: directory / f"{form}.so" for form in request["forms"]}
    for form, library in libraries.items():
        compile_step(update, state_count, chunk, library, form)
    costs = {form: _cost(library, chunk) for form, library in libraries.items()}
    winner = min(costs, key=costs.__getitem__)
    libraries[winner].rename(directory / "step.so")
    result = {"form": winner, "microseconds": costs, "seconds": time.monotonic() - begun}
    (directory / "result.json").write_text(json.dumps(result))


def compile_step(
    update: torch.nn.Module, state_count: int, chunk: Sequence[Tensor], library: Path, form: str
) -> None:
    """Compile `chunk_step` around the update into a library. Takes 10 to 40 s.

    The number of rows in the cache and of events in a chunk stay open; all else is fixed.
    """

    def step(*flat: Tensor) -> tuple[Tensor, ...]:
        chunk_step(update, state_count, *flat)
        return ()

    with torch.no_grad():
        functional = torch.func.functionalize(step)
        graph = make_fx(functional, decomposition_table=FORMS[form])(*chunk)
        tasks, events = ({0: torch.export.Dim(name, min=2)} for name in ("tasks", "events"))
        per_event = [events] * (len(chunk) - state_count - 3)
        shapes = (*[None] * state_count, tasks, tasks, *per_event, None)
        exported = torch.export.export(graph, tuple(chunk), dynamic_shapes=shapes, strict=False)
        torch._inductor.aot_compile(
            exported.module(),
            tuple(chunk),
            options={
                "aot_inductor.output_path": str(library),
                "aot_inductor.allow_stack_allocation": True,
                "cpp.threads": torch.get_num_threads(),
                "compile_threads": 1,
                # They pay in the same process alone, and cost 30 s.
                "cpp_cache_precompile_headers": False,
                "aot_inductor.precompile_headers": False,
            },
        )


def _example(
    update: torch.nn.Module, inputs: Sequence[Tensor], state_count: int, *, predicts: bool
) -> list[Tensor]:
    with torch.no_grad():
        prediction = update(*inputs)[1] if predicts else None
    return example_chunk(inputs, state_count, prediction)


def _cost(library: Path, chunk: list[Tensor]) -> float:
    """Microseconds a call takes, the least of several blocks: others may use the machine."""
    runner = torch._C._aoti.AOTIModelContainerRunnerCpu(str(library), 1)
    blocks = []
    for _ in range(_BLOCKS):
        begun = time.perf_counter()
        for _ in range(_CALLS):
            runner.run(chunk)
        blocks.append((time.perf_counter() - begun) / _CALLS)
    return 1e6 * min(blocks)


def _end_with_parent() -> None:
    """End this process, and the compilers that it started, when standard input ends."""
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    if "--beside" in sys.argv[2:]:
        os.nice(LEAST_PRIORITY)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    main(Path(sys.argv[1]))
