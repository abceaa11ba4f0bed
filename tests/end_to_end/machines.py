"""What a machine may do to a process; most of it is done in the process itself: `Daemon.prepare`."""

import ctypes
import itertools
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_NEW_MOUNTS: Final = 0x00020000
_DAY_SECONDS: Final = 86_400.0


def small_files(most_bytes: int) -> None:
    """No file may become larger: a write beyond fails, as on a full disk or over a quota."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))


def may_mount() -> bool:
    """Whether this user may give a process mounts of its own."""
    return os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], check=False).returncode == 0


@contextmanager
def small_disk(directory: Path, size_bytes: int) -> Iterator[None]:
    """A disk of its own for this directory, which is made."""
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", directory], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)


def resize(directory: Path, size_bytes: int) -> None:
    """Another size for that disk, with what is on it."""
    subprocess.run(["mount", "-o", f"remount,size={size_bytes}", directory], check=True)


def may_limit() -> bool:
    """Whether a disk with a quota can be made: btrfs has one of its own, which binds root too."""
    return may_mount() and shutil.which("mkfs.btrfs") is not None and Path("/dev/loop-control").exists()


@contextmanager
def limited_disk(directory: Path, limit_bytes: int) -> Iterator[None]:
    """A disk of its own for this directory, which is made, with room enough and a quota on it."""
    directory.mkdir()
    image = directory.with_suffix(".img")
    with image.open("wb") as file:
        file.truncate(160 << 20)
    _do("mkfs.btrfs", "-q", "-m", "single", image)
    _do("mount", "-o", "loop", image, directory)
    try:
        _do("btrfs", "quota", "enable", directory)
        limit(directory, limit_bytes)
        yield
    finally:
        _do("umount", directory)


def limit(directory: Path, limit_bytes: int) -> None:
    """Another quota on that disk."""
    _do("btrfs", "qgroup", "limit", str(limit_bytes), directory)


def _do(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)


def read_only(directory: Path) -> None:
    """The directory is on a file system that takes no writes."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_MOUNTS):
        raise OSError(ctypes.get_errno(), "unshare")
    for options in (["--make-rprivate", "/"], ["--bind", directory, directory]):
        subprocess.run(["mount", *options], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", directory], check=True)


def jumping_clock() -> None:
    """The time of day jumps by a day, there and back, each time that it is asked for the thousandth time."""
    truly, asked = time.time, itertools.count()
    time.time = lambda: truly() + (next(asked) // 1000 % 3 - 1) * _DAY_SECONDS
