"""The topic of events as a `Source`: every partition assigned and sought explicitly, nothing left to a group.

A broker that is away is waited for without end; what waiting cannot mend (a lost offset, a revoked right, a
deleted topic) is raised as an error that names it and the remedy.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, suppress

import structlog

from streammeta.errors import BrokerUnavailable, LoginRefused, StreammetaError, TopicMissing
from streammeta.events import Condition, Conditions, Positions, Record, Run
from streammeta.stream.base import Waiting, untold
from streammeta.stream.kafka.access import KafkaSettings, always
from streammeta.stream.kafka.commits import Committer
from streammeta.stream.kafka.held import Held, going_on, going_on_anew, held
from streammeta.stream.kafka.reader import Reader
from streammeta.stream.kafka.runs import Runs
from streammeta.stream.kafka.served import Served
from streammeta.stream.kafka.silence import Silence
from streammeta.stream.kafka.topics import Topic, topic_of_events
from streammeta.stream.kafka.watch import Watch
from streammeta.stream.share import Share

log = structlog.get_logger(__name__)

MAX_POLL_RECORDS = 500
LOOK_SECONDS = 1.0
"""How often the known partitions are compared with the assigned ones (metadata comes every 10 s)."""
VANISHED_SECONDS = 5.0
"""How long metadata may lack the topic before we ask why."""


class KafkaSource:
    """`Source` over kafka-python. Not for several threads."""

    def __init__(
        self,
        settings: KafkaSettings,
        *,
        keep_going: Callable[[], bool] = always,
        clock: Callable[[], float] = time.monotonic,
        share: Share | None = None,
    ) -> None:
        """Nothing is connected before `start`.

        Args:
            settings: The `[kafka]` section.
            keep_going: Asked while waiting for a broker in `start`, `fetch` and `ends`; False ends the wait
                with `BrokerUnavailable`.
            clock: Seconds, monotonic; times how often new partitions are looked for, and judges the service.
            share: The partitions that are read; all by default.
        """
        self._share = share or Share()
        self._settings, self._keep_going, self._clock = settings, keep_going, clock
        self._silence, self._watch = Silence(), Watch(settings, clock)
        self._served = Served(settings, self._watch, self._silence, clock)
        self._started: Reader | None = None
        self._runs: Runs | None = None
        self._committer: Committer | None = None
        self._looked_at = clock()
        self._vanished_at: float | None = None
        self._identity = ""
        self._disbelieved = ""
        self._moves: dict[int, int] = {}

    def start(self, positions: Positions, identity: str = "") -> Positions:
        """As `Source.start`; told within seconds, an unreachable broker after `connect_timeout_seconds`."""
        topic = topic_of_events(self._settings, self._keep_going)
        self._started = Reader(self._settings, self._silence, self._keep_going)
        self._committer = Committer(self._settings, self._keep_going, self._clock)
        found = held(self._settings, self._share.of(topic.partitions), self._keep_going)
        self._know(found)
        if identity and topic.id not in ("", identity):
            begin = going_on_anew(self._settings, identity, topic.id, found)
        else:
            begin = {p: self._begin(p, positions, found[p]) for p in found}
            self._check_shrunk(positions, topic.partitions)
        self._identity = topic.id
        self._started.assign(begin)
        return begin

    def identity(self) -> str:
        """As `Source.identity`: the topic's UUID."""
        return self._identity

    def moved(self) -> Positions:
        """As `Source.moved`."""
        moves, self._moves = self._moves, {}
        return moves

    def _begin(self, partition: int, positions: Positions, now: Held) -> int:
        if partition in positions:
            return going_on(self._settings, partition, positions[partition], now)
        return now.end if not positions and self._settings.start == "latest" else now.first

    def _check_shrunk(self, positions: Positions, topic: Collection[int]) -> None:
        for partition in sorted(set(positions) - set(topic)):
            going_on(self._settings, partition, positions[partition], Held(0, -1))

    @property
    def _reader(self) -> Reader:
        if self._started is None:
            raise StreammetaError("the source is not started, or closed")
        return self._started

    def poll(self, timeout_seconds: float) -> Sequence[Record]:
        """As `Source.poll`; at most `MAX_POLL_RECORDS`.

        Raises:
            LostOffsets: as `start`, at any time.
            BrokerRefused: a right was revoked, or the login refused for `refused_grace_seconds`.
            TopicMissing: the topic was deleted.
        """
        self._close_runs()
        self._served.check()
        if self._served.needs_another_reader(self._reader):
            self._reopen()
        if self._clock() - self._looked_at >= LOOK_SECONDS:
            self._looked_at = self._clock()
            self._look_for_partitions()
        if self._in_doubt() and not self._settle(self._reader.topic_id()):
            return []
        records = self._reader.read(timeout_seconds, MAX_POLL_RECORDS)
        if records and self._in_doubt():
            self._reader.unread(records)
            return []
        self._served.polled(records)
        return records

    def _reopen(self) -> None:
        """Read on through new connections: the old ones do not come back."""
        positions = self._reader.positions()
        log.warning("reader replaced", topic=self._settings.topic, positions=positions)
        with suppress(BrokerUnavailable, LoginRefused), ExitStack() as made:  # tried again after a silence
            reader = Reader(self._settings, self._silence, self._keep_going)
            made.callback(reader.close)
            committer = Committer(self._settings, self._keep_going, self._clock)
            made.pop_all()
            self._go_on_with(reader, committer, positions)

    def _go_on_with(self, reader: Reader, committer: Committer, positions: Positions) -> None:
        self._reader.close()
        if self._committer is not None:
            self._committer.close(wait=False)
        self._started, self._committer = reader, committer
        reader.assign(positions)

    def is_cut(self) -> bool:
        """As `Source.is_cut`: a topic tells of none."""
        return False

    def executors(self) -> Mapping[str, Conditions] | None:
        """As `Source.executors`: a topic tells of none."""
        return None

    def replayed(self) -> float | None:
        """As `Source.replayed`: a topic has no end."""
        return None

    def _in_doubt(self) -> bool:
        """Whether this may be another topic than the one begun with: a jump, or a new id in the metadata."""
        return bool(self._reader.moves) or self._is_another(self._reader.topic_id())

    def _is_another(self, named_id: str) -> bool:
        return bool(self._identity) and named_id not in ("", self._identity, self._disbelieved)

    def _settle(self, named_id: str) -> bool:
        """Ask the broker which topic this is, and go on in it; False when it does not answer."""
        try:
            topic = topic_of_events(self._settings, self._keep_going)
            if self._identity and topic.id not in ("", self._identity):
                self._begin_anew(topic)
        except TopicMissing:
            raise
        except BrokerUnavailable:
            return False
        self._disbelieved = named_id  # an old broker's word, where it is not the topic's id by now
        self._moves |= self._reader.moves
        self._reader.moves.clear()
        return True

    def _begin_anew(self, topic: Topic) -> None:
        found = held(self._settings, self._share.of(topic.partitions), self._keep_going)
        self._know(found)
        begin = going_on_anew(self._settings, self._identity, topic.id, found)
        self._reader.assign_only(begin)
        self._reader.moves = begin
        self._identity = topic.id

    def _look_for_partitions(self) -> None:
        known = self._reader.known_partitions()
        self._check_vanished(bool(known))
        new = set(self._share.of(known)) - set(self._reader.positions()) if known else set()
        if not new:
            return
        try:
            found = held(self._settings, new, self._keep_going)
        except BrokerUnavailable:
            return
        self._know(found)
        log.info("new partitions", topic=self._settings.topic, partitions=sorted(new))
        self._reader.assign({partition: log_held.first for partition, log_held in found.items()})

    def _check_vanished(self, known: bool) -> None:
        """Raise why the broker no longer names the topic: deleted, or no longer ours to see."""
        if known:
            self._vanished_at = None
            return
        self._vanished_at = self._vanished_at or self._clock()
        if self._clock() - self._vanished_at >= VANISHED_SECONDS:
            topic_of_events(self._settings, self._keep_going)

    def fetch(self, run: Run, waiting: Waiting = untold) -> Sequence[Record]:
        """As `Source.fetch`; through a connection of its own, so that what `poll` has buffered stays.

        Raises:
            LostOffsets: also when the log now ends before the run does, or is another topic's, and the
                configuration says to fail.
            BrokerUnavailable: `keep_going` said no while waiting for the broker.
        """
        runs = self._runs = self._runs or Runs(self._settings, self._silence, self._keep_going)

        def check_and_wait() -> None:
            self._served.check()
            if self._served.needs_another_reader(runs.reader):
                self._reopen()
                runs.reopen()
            waiting()

        records, end = runs.fetch(run, check_and_wait)
        if self._became_another(runs.topic_id(), check_and_wait):
            return []
        self._served.polled(records)
        self._reader.seek(run.partition, end)
        return records

    def _became_another(self, named_id: str, waiting: Waiting) -> bool:
        """Whether the topic was made again: then this goes on in the new one, and no run is left."""
        was = self._identity
        while self._is_another(named_id):
            waiting()
            if not self._settle(named_id) and not self._keep_going():
                raise BrokerUnavailable(f"stopped while asking which topic {self._settings.topic!r} is")
        return self._identity != was

    def _close_runs(self) -> None:
        runs, self._runs = self._runs, None
        if runs is not None:
            runs.close()

    def ends(self) -> Positions:
        """As `Source.ends`; asks the broker, some 0.2 s. A transaction that is still open counts."""
        found = held(self._settings, list(self._reader.positions()), self._keep_going)
        self._know(found)
        return {partition: log_held.end for partition, log_held in found.items()}

    def _know(self, found: Mapping[int, Held]) -> None:
        self._watch.follow({partition: log_held.end for partition, log_held in found.items()})

    def positions(self) -> Positions:
        """As `Source.positions`."""
        return self._reader.positions()

    def passed(self) -> Positions:
        """As `Source.passed`: the reader's own positions."""
        return self._reader.positions()

    def lag(self, applied: Positions) -> Mapping[int, int]:
        """As `Source.lag`; from ends asked for every few seconds, and those that came with records."""
        if not self._watch.fresh:
            return {}
        marks = {p: self._reader.high_watermark(p) or 0 for p in applied}
        ends = self._watch.seen.ends
        return {p: max(0, max(ends[p], marks[p]) - offset) for p, offset in applied.items() if p in ends}

    def condition(self, applied: Positions) -> Condition:
        """As `Source.condition`; see `Served`."""
        if self._started is None:
            return Condition("away", "not connected yet")
        return self._served.condition(self._reader, applied, self.lag(applied))

    def committed(self, positions: Positions) -> None:
        """As `Source.committed`; a failure is logged, at most once a minute."""
        if self._committer is not None:
            self._committer.commit(positions)

    def close(self) -> None:
        """As `Source.close`; waits about a second at most for the last commit."""
        self._watch.close()
        self._close_runs()
        committer, self._committer = self._committer, None
        if committer is not None:
            committer.close(wait=self._watch.fresh)
        reader, self._started = self._started, None
        if reader is not None:
            reader.close()
