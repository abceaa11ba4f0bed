"""Kills at the moments in which files change."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest import mock

from tests.scripted import Fuse, Killed


@contextmanager
def killed_at_a_system_call(fuse: Fuse) -> Iterator[None]:
    """The fuse burns at each call that changes a file; a write that is killed has written a part of it."""
    write, cut, replace = os.write, os.ftruncate, Path.replace

    def torn(file: int, content: Any) -> int:
        try:
            fuse.passed()
        except Killed:
            write(file, bytes(content)[: len(content) // 2])
            raise
        return write(file, content)

    def fused(call: Callable[..., Any]) -> Callable[..., Any]:
        def passed(*arguments: Any) -> Any:
            fuse.passed()
            return call(*arguments)

        return passed

    with (
        suppress(Killed),
        mock.patch("os.write", torn),
        mock.patch("os.fsync", fused(lambda _file: None)),
        mock.patch("os.ftruncate", fused(cut)),
        mock.patch.object(Path, "replace", lambda path, target: fused(replace)(path, target)),
    ):
        yield
