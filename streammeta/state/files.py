"""What the order log asks of the operating system, as an argument: a simulated disk can lose what it took."""

import os
from pathlib import Path
from typing import Final, Protocol

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND


class Files(Protocol):
    """Files that are appended to and shortened. Each call raises OSError as the operating system does."""

    def read(self, path: Path) -> bytes:
        """All of its content; nothing where it is absent."""

    def open(self, path: Path, *, anew: bool = False) -> int:
        """Its number, for writing at its end; it is made where absent, `anew` without what it held."""

    def write(self, file: int, content: bytes) -> int:
        """Append; how many bytes were written, fewer where the disk is full."""

    def sync(self, file: int) -> None:
        """Put what was written to it on the disk."""

    def truncate(self, file: int, size_bytes: int) -> None:
        """Keep no more than its beginning."""

    def rename(self, path: Path, onto: Path) -> None:
        """Put it in the other's place, in one step."""

    def close(self, file: int) -> None:
        """Let go of it."""


class OsFiles:
    """The operating system's."""

    def read(self, path: Path) -> bytes:
        """As `Files.read`."""
        return path.read_bytes() if path.exists() else b""

    def open(self, path: Path, *, anew: bool = False) -> int:
        """As `Files.open`; for this user alone."""
        return os.open(path, _FLAGS | os.O_TRUNC if anew else _FLAGS, 0o600)

    def write(self, file: int, content: bytes) -> int:
        """As `Files.write`."""
        return os.write(file, content)

    def sync(self, file: int) -> None:
        """As `Files.sync`."""
        os.fsync(file)

    def truncate(self, file: int, size_bytes: int) -> None:
        """As `Files.truncate`."""
        os.ftruncate(file, size_bytes)

    def rename(self, path: Path, onto: Path) -> None:
        """As `Files.rename`."""
        path.replace(onto)

    def close(self, file: int) -> None:
        """As `Files.close`."""
        os.close(file)


FILES: Final = OsFiles()
