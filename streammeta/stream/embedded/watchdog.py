"""Runs a command for as long as its parent lives: ends it when standard input ends, however the parent went.

Run as a script, with the standard library alone: `python -I watchdog.py COMMAND ARGUMENTS`.
"""

import os
import subprocess
import sys
import threading


def main(command: list[str]) -> int:
    """Run `command`; its exit status, or that of the kill."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 - what our parent asks for
    threading.Thread(target=_end_with_parent, args=(child,), daemon=True).start()
    return child.wait()


def _end_with_parent(child: "subprocess.Popen[bytes]") -> None:
    # The pipe ends when the parent closes it, exits or is killed.
    while os.read(0, 1):
        pass
    child.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
