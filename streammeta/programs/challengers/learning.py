"""What a challenger does: the daemon's loop over the champion's feed, and a report a second."""

import os
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from streammeta.config import Config, load_config
from streammeta.errors import StreammetaError
from streammeta.feed.source import FeedSource, Fetcher
from streammeta.outcomes import Observer
from streammeta.programs.challengers.plan import beside
from streammeta.programs.challengers.report import CURVE, Report, Request, line_of
from streammeta.programs.challengers.signs import PipeSigns
from streammeta.programs.company import Place
from streammeta.programs.daemon import KeepGoing, run_daemon
from streammeta.stream.base import DeadLetters, Source
from streammeta.stream.generated import NoDeadLetters
from streammeta.stream.kafka.held import held
from streammeta.stream.kafka.runs import Runs
from streammeta.stream.kafka.silence import Silence
from streammeta.web.shown import columns_of

REPORT_SECONDS: Final = 1.0


class Reporting:
    """A `Company` that tells the champion how this learner stands, from a thread of its own."""

    def __init__(self, descriptor: int, signs: PipeSigns) -> None:
        self._descriptor, self._signs = descriptor, signs
        self._place: Place | None = None
        self._source: FeedSource | None = None
        self._address = ""
        self._reload = False
        self._rows = -1
        self._writing = threading.Lock()
        threading.Thread(target=self._report, name="reports", daemon=True).start()

    def reads_from(self, source: FeedSource) -> None:
        """The source whose positions are told."""
        self._source = source

    def join(self, place: Place) -> Sequence[Observer]:
        """As `Company.join`."""
        self._place = place
        place.controls.stop = place.controls.stop or not self._signs.going_on
        place.controls.reload = place.controls.reload or self._reload  # its files may be read already
        return ()

    def stop(self) -> None:
        """The champion says so, or is gone."""
        if self._place is not None:
            self._place.controls.stop = True

    def reload(self) -> None:
        """The champion was asked to read its configuration again: so is this learner, with its own files."""
        self._reload = True
        if self._place is not None:
            self._place.controls.reload = True

    def beat(self) -> None:
        """It waits for the champion, which is no hang."""
        if self._place is not None:
            self._place.health.beat()

    def serving(self, address: str) -> None:
        """As `Company.serving`."""
        self._address = address

    def reloaded(self) -> None:
        """For nobody else."""

    def challengers(self) -> Sequence[Mapping[str, Any]]:
        """Challengers have none."""
        return ()

    def curves(self) -> Sequence[Mapping[str, Any]]:
        """Challengers have none."""
        return ()

    def wait(self) -> None:
        """For nobody."""

    def close(self) -> None:
        """Tell how it ended."""
        self.tell(self._now())

    def tell(self, report: Report) -> None:
        """Send it; nobody hears it where the champion is gone."""
        with suppress(OSError), self._writing:
            rest = memoryview(line_of(report))
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]

    def _report(self) -> None:
        pause = threading.Event()
        while self._signs.going_on:
            self.tell(self._now())
            pause.wait(REPORT_SECONDS)

    def _now(self) -> Report:
        place, source = self._place, self._source
        if place is None:
            return Report()
        live, words = place.health.live()
        return Report(
            status=dict(place.status.snapshot()),
            positions=dict(source.positions()) if source is not None else {},
            segment=source.segment if source is not None else -1,
            address=self._address,
            stuck="" if live else words,
            curve=self._curve(place),
        )

    def _curve(self, place: Place) -> Mapping[str, Sequence[float | None]] | None:
        seen = place.history.view()
        if seen.rows == self._rows:
            return None
        self._rows = seen.rows
        columns = columns_of(seen.events.columns, seen.events.merged())
        return {name: columns[name] for name in CURVE}


def learn(signs_descriptor: int, reports_descriptor: int) -> int:
    """Learn from the feed that the first sign names; the exit code of the process."""
    signs = PipeSigns(
        signs_descriptor,
        stop=lambda: reporting.stop(),
        waiting=lambda: reporting.beat(),
        reload=lambda: reporting.reload(),
    )
    reporting = Reporting(reports_descriptor, signs)
    request = msgspec.json.decode(signs.first_line(), type=Request)
    signs.listen()
    structlog.contextvars.bind_contextvars(learner=request.name)
    try:
        _learn(request, signs, reporting)
    except StreammetaError as error:
        reporting.tell(Report(failure=str(error), exit_code=error.exit_code))
        return error.exit_code
    except BaseException as error:  # noqa: BLE001 (what a user's model may raise at all is told, then the process ends)
        traceback.print_exc(file=sys.stderr)
        reporting.tell(Report(failure=f"{type(error).__name__}: {error}", exit_code=1))
        return 1
    return 0


def _learn(request: Request, signs: PipeSigns, reporting: Reporting) -> None:
    def read() -> Config:
        champion = load_config(Path(request.champion) if request.champion else None, request.overrides)
        return beside(champion, Path(request.path))

    def connect(config: Config, keep_going: KeepGoing) -> tuple[Source, DeadLetters]:
        kafka = config.kafka

        def fetcher() -> Fetcher:
            return Runs(kafka, Silence(), keep_going)

        def first(partition: int) -> int:
            return held(kafka, [partition], keep_going)[partition].first

        source = FeedSource(Path(request.feed), kafka.topic, signs, fetcher, first)
        reporting.reads_from(source)
        return source, NoDeadLetters()

    run_daemon(
        read(),
        read_config=read,
        connect=connect,
        connect_answers=lambda _config, _keep_going: None,
        until_end=True,
        company=reporting,
    )
