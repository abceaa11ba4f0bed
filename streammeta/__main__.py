"""`streammeta`, and `python -m streammeta`: the process around the command line."""

import sys

from streammeta.cli import main
from streammeta.cli.early import heed_early_signals


def program() -> None:
    """Run the command line as a process of its own."""
    if sys.argv[1:2] == ["run"]:
        heed_early_signals()
    main(prog_name="streammeta")


if __name__ == "__main__":
    program()
