"""What the champion says to a challenger, through a pipe: news, the end, a reload; or it is gone."""

import os
import threading
from collections.abc import Callable
from typing import Final

NEWS: Final = b"."
END: Final = b"E"
RELOAD: Final = b"R"
GRACE_SECONDS: Final = 20.0
"""How long a challenger may go on without its champion, to finish what is in hand."""


class PipeSigns:
    """`Signs` out of a pipe, heard by a thread of its own: also while the loop is at work, or hangs."""

    def __init__(
        self,
        descriptor: int,
        *,
        stop: Callable[[], None],
        waiting: Callable[[], None],
        reload: Callable[[], None],
    ) -> None:
        """`stop` is called when the champion says so, or is gone; the process ends `GRACE_SECONDS` later.

        `waiting` is called when this learner waits for the champion, which is no hang; `reload` when the
        champion was asked to read its configuration again.
        """
        self._descriptor, self._stop, self._waiting, self._reload = descriptor, stop, waiting, reload
        self._news = threading.Event()
        self._going_on, self._ended = True, False

    def first_line(self) -> bytes:
        """What comes before all signs."""
        line = bytearray()
        while byte := os.read(self._descriptor, 1):
            if byte == b"\n":
                break
            line += byte
        return bytes(line)

    def listen(self) -> None:
        """Begin to hear."""
        threading.Thread(target=self._hear, name="champion", daemon=True).start()

    def wait(self, seconds: float) -> None:
        """As `Signs.wait`."""
        self._waiting()
        self._news.wait(seconds)
        self._news.clear()

    @property
    def ended(self) -> bool:
        """As `Signs.ended`."""
        return self._ended

    @property
    def going_on(self) -> bool:
        """As `Signs.going_on`."""
        return self._going_on

    def _hear(self) -> None:
        while heard := os.read(self._descriptor, 4096):
            self._ended = self._ended or END in heard
            if RELOAD in heard:
                self._reload()
            self._news.set()
        self._going_on = False
        self._stop()
        self._news.set()
        threading.Event().wait(GRACE_SECONDS)
        os._exit(1)
