"""A machine for each rank: network namespaces at one bridge, whose links can be cut."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

_NEW_NETWORK = 0x40000000
"""CLONE_NEWNET of sched.h."""


class Network(NamedTuple):
    """Namespaces that were made; `name` begins the names of all that belongs to it."""

    name: str
    number: int

    @property
    def bridge(self) -> str:
        """The address of this machine in it."""
        return f"10.214.{self.number}.254"

    def address(self, rank: int) -> str:
        """That of a rank's namespace."""
        return f"10.214.{self.number}.{rank + 1}"

    def enter(self, rank: int) -> None:
        """Take this process into a rank's namespace, where rank 0 is met at its address."""
        space = os.open(f"/run/netns/{self.name}-{rank}", os.O_RDONLY)
        if ctypes.CDLL(None, use_errno=True).setns(space, _NEW_NETWORK):
            raise OSError(ctypes.get_errno(), "setns")
        os.close(space)
        os.environ.update({"MASTER_ADDR": self.address(0), "GLOO_SOCKET_IFNAME": "eth0"})

    def cut(self, rank: int) -> None:
        """Nothing comes through to or from it."""
        _ip("link", "set", f"{self.name}-{rank}", "down")

    def mend(self, rank: int) -> None:
        """It does again."""
        _ip("link", "set", f"{self.name}-{rank}", "up")


def absence() -> str:
    """Why there can be no namespaces here; "" where there can."""
    if shutil.which("ip") is None:
        return "no ip command (package iproute2)"
    name = f"probe-{os.getpid()}"
    try:
        _ip("netns", "add", name)
        _ip("netns", "delete", name)
    except subprocess.CalledProcessError as error:
        return f"network namespaces are not allowed here: {error.stderr.strip()}"
    return "" if Path("/run/netns").is_dir() else "namespaces are not named in /run/netns"


@contextmanager
def network(ranks: int) -> Iterator[Network]:
    """A namespace for each rank, at a bridge; gone at the end."""
    number = os.getpid() % 250
    made = Network(f"sm{number}", number)
    with ExitStack() as stack:
        _ip("link", "add", made.name, "type", "bridge")
        stack.callback(_ip, "link", "delete", made.name)
        _ip("address", "add", f"{made.bridge}/24", "dev", made.name)
        _ip("link", "set", made.name, "up")
        for rank in range(ranks):
            space = f"{made.name}-{rank}"
            _ip("netns", "add", space)
            stack.callback(_ip, "netns", "delete", space)
            _ip("link", "add", space, "type", "veth", "peer", "name", "eth0", "netns", space)
            _ip("link", "set", space, "master", made.name, "up")
            _ip("-n", space, "address", "add", f"{made.address(rank)}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", space, "link", "set", device, "up")
        yield made


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
