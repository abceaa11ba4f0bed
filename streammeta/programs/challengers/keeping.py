"""One challenger's process: begun, listened to, begun again when it dies, given up when that is of no use.

A thread of the champion does it, and holds nothing that the champion's loop waits for.
"""

import os
import select
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import msgspec
import structlog

from streammeta.programs.challengers.processes import begin, ended, kill
from streammeta.programs.challengers.report import LINE_BYTES, Report, Request, line_of
from streammeta.programs.challengers.signs import END, NEWS, RELOAD

Phase = Literal["starting", "running", "waiting", "failed", "ended"]
HOPELESS: Final = {2: "usage", 65: "its state or the log", 78: "its configuration"}
"""Exit codes that another try does not mend."""
LOOK_SECONDS: Final = 0.5
_READ_BYTES: Final = 1 << 16

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a challenger is waited for, and how often it is begun again.

    Attributes:
        restarts: Failures in a row, without an event learned between, after which it is given up.
        pause_seconds: Before the first new try; twice as long before each further one.
        silent_seconds: Without a report it is ended.
        stuck_seconds: So is one that reports, but of which nothing has moved, or which has not begun.
        ending_seconds: After the champion's word to stop, it is killed.
    """

    restarts: int = 5
    pause_seconds: float = 1.0
    silent_seconds: float = 120.0
    stuck_seconds: float = 600.0
    ending_seconds: float = 12.0


class Standing(NamedTuple):
    """How the challenger stands, as the champion knows it; `words` say what it died of."""

    phase: Phase = "starting"
    words: str = ""
    deaths: int = 0
    pid: int = 0


class Keeper:
    """Keeps one challenger going."""

    def __init__(
        self,
        request: Request,
        *,
        told: Callable[[], None],
        patience: Patience = Patience(),
        errors: int | None = None,
    ) -> None:
        """Nothing is begun before `start`.

        Args:
            request: What to begin.
            told: Called after each report, in the keeper's thread.
            patience: With it.
            errors: Where its standard error goes; None for the champion's own.
        """
        self.request, self._told, self._patience, self._errors = request, told, patience, errors
        self.standing = Standing()
        self.report = Report()
        """The last one that had a status; replaced whole, so that any thread may read it."""
        self.curve: Mapping[str, Sequence[float | None]] | None = None
        self.deaths = 0
        """In the life of the champion."""
        self._lock = threading.Lock()
        self._signs = -1
        self._stop = threading.Event()
        self._end = False
        self._thread = threading.Thread(target=self._keep, name=f"challenger {request.name}", daemon=True)

    @property
    def running(self) -> bool:
        """Whether it learns, or will again."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """There is something new in the feed. Never waits."""
        self._say(NEWS)

    def reload(self) -> None:
        """It shall read its configuration again."""
        self._say(RELOAD)

    def end(self) -> None:
        """Nothing is written to the feed any more: it learns what is there, then ends."""
        self._end = True
        self._say(END)

    def stop(self) -> None:
        """It shall finish what is in hand and end."""
        self._stop.set()
        self._hang_up()

    def join(self) -> None:
        """Return when it has ended; it is killed where it does not."""
        if self._thread.ident is not None:
            self._thread.join(self._patience.ending_seconds + 5.0)

    def _say(self, sign: bytes) -> None:
        with self._lock:
            if self._signs >= 0:
                with suppress(OSError):  # full: it has news already; broken: it is gone
                    os.write(self._signs, sign)

    def _hang_up(self) -> None:
        with self._lock:
            signs, self._signs = self._signs, -1
        if signs >= 0:
            os.close(signs)

    def _keep(self) -> None:
        """Life after life."""
        failures = 0
        while not self._stop.is_set():
            before = self._events()
            try:
                done, code, words = self._live()
            except OSError as error:
                done, code, words = False, 1, f"its process could not be begun: {error.strerror}"
            if done or self._stop.is_set():
                self.standing = self.standing._replace(phase="ended", words="", pid=0)
                return
            failures = 1 if self._events() > before else failures + 1
            self.deaths += 1
            if code in HOPELESS or failures > self._patience.restarts:
                self._give_up(code, words, failures)
                return
            self._pause(words, failures)

    def _give_up(self, code: int, words: str, failures: int) -> None:
        why = HOPELESS.get(code, f"{failures} times in a row")
        self.standing = Standing("failed", words, self.deaths)
        log.error(
            "challenger given up",
            challenger=self.request.name,
            reason=words,
            because=why,
            consequence="the champion goes on; the challenger's state stands as of its last checkpoint",
            remedy="mend it, then start the champion again",
        )
        self._told()

    def _pause(self, words: str, failures: int) -> None:
        seconds = self._patience.pause_seconds * 2 ** (failures - 1)
        self.standing = Standing("waiting", words, self.deaths)
        log.warning(
            "challenger died", challenger=self.request.name, reason=words, begun_again_in_seconds=seconds
        )
        self._stop.wait(seconds)

    def _events(self) -> int:
        status = self.report.status
        return int(status["events"]) if status else 0

    def _live(self) -> tuple[bool, int, str]:
        """One process, from its beginning to its end: whether it did what it was asked; code; why it died."""
        process, reports = self._begin()
        try:
            last, why = self._listen(process, reports)
            if why:
                kill(process)
            words = why or last.failure
            code = self._wait_for(process)
            return code == 0 and (self._end or self._stop.is_set()), code, words or ended(code)
        finally:
            self._hang_up()
            os.close(reports)
            if process.poll() is None:
                kill(process)
            process.wait()

    def _begin(self) -> "tuple[subprocess.Popen[bytes], int]":
        signs, ours = os.pipe()
        reports, theirs = os.pipe()
        try:
            process = begin(signs, theirs, self._errors)
        except OSError:
            os.close(ours)
            os.close(reports)
            raise
        finally:
            os.close(signs)
            os.close(theirs)
        os.write(ours, line_of(self.request))
        os.set_blocking(ours, False)
        with self._lock:
            self._signs = ours
        if self._stop.is_set():
            self._hang_up()
        elif self._end:
            self.end()
        self.standing = Standing("starting", self.standing.words, self.deaths, process.pid)
        return process, reports

    def _listen(self, process: "subprocess.Popen[bytes]", reports: int) -> tuple[Report, str]:
        """Its last report, when it tells no more; or why it must be ended."""
        rest, last = b"", Report()
        heard = moved = time.monotonic()
        until = float("inf")
        while True:
            if self._stop.is_set():
                until = min(until, time.monotonic() + self._patience.ending_seconds)
            ready, _, _ = select.select([reports], [], [], LOOK_SECONDS)
            now = time.monotonic()
            if ready:
                more = os.read(reports, _READ_BYTES)
                if not more:
                    return last, ""
                *lines, rest = (rest + more).split(b"\n")
                if len(rest) > LINE_BYTES:
                    return last, "it sends what is no report"
                for line in lines:
                    try:
                        last = msgspec.json.decode(line, type=Report)
                    except msgspec.MsgspecError:
                        return last, "it sends what is no report"
                    self._take(last)
                    heard = now
                    moved = now if last.status is not None and not last.stuck else moved
            elif process.poll() is not None:  # what it has begun may hold the pipe open
                return last, ""
            if now > until:
                return last, "it did not end when it was told to"
            if now - heard > self._patience.silent_seconds:
                return last, f"it has said nothing for {now - heard:.0f} s"
            if now - moved > self._patience.stuck_seconds:
                return last, last.stuck or f"it has not begun after {now - moved:.0f} s"

    def _take(self, report: Report) -> None:
        if report.curve is not None:
            self.curve = report.curve
        if report.status is not None:
            self.report = report
            self.standing = self.standing._replace(phase="running", words="")
        self._told()

    def _wait_for(self, process: "subprocess.Popen[bytes]") -> int:
        """Its exit code; it has said its last word."""
        try:
            return process.wait(self._patience.ending_seconds)
        except subprocess.TimeoutExpired:
            kill(process)
            return process.wait()
