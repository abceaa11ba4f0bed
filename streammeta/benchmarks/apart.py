"""A measurement in a process of its own: memory, imports and settings of torch are its own too.

    python -m streammeta.benchmarks.apart MODULE FUNCTION '{"argument": value}'

prints what the function returns as a line of JSON.
"""

import importlib
import json
import subprocess
import sys
from typing import Any


def apart(module: str, function: str, **arguments: Any) -> Any:
    """Call a function of a module in a process of its own; arguments and result are JSON.

    Raises:
        RuntimeError: it failed; what it said is on standard error.
    """
    command = [sys.executable, "-m", "streammeta.benchmarks.apart", module, function, json.dumps(arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)  # noqa: S603 (our own modules)
    if done.returncode:
        raise RuntimeError(f"the measurement {module}.{function} ended with {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def main(module: str, function: str, arguments: str) -> None:
    """Be the process."""
    called = getattr(importlib.import_module(module), function)
    print(json.dumps(called(**json.loads(arguments))))


if __name__ == "__main__":
    main(*sys.argv[1:])
