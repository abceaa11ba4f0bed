"""How the broker serves us: what `Watch` saw, what the reader hears, and what was applied, taken together."""

import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Mapping

import structlog

from streammeta.events import Condition, Positions, Record, Service
from streammeta.stream.kafka.access import HEARING, KafkaSettings
from streammeta.stream.kafka.reader import Reader
from streammeta.stream.kafka.silence import Silence
from streammeta.stream.kafka.watch import Watch

log = structlog.get_logger(__name__)

DEAF_SECONDS = 10.0
"""How long a reader may hear nothing from a broker that serves others before it is made anew."""
BLOCKED_SECONDS = 5.0
"""How long a transaction may hold records back before it is told of: most end sooner."""
ETA_SECONDS = 30.0
_THROTTLED_SECONDS = 5.0
"""How long after it was last held back a client counts as slowed by a quota."""


class Served:
    """Judges; tells in the log when the judgement changes."""

    def __init__(
        self,
        settings: KafkaSettings,
        watch: Watch,
        silence: Silence,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._watch, self._silence, self._clock = settings, watch, silence, clock
        self._last: dict[int, list[Record]] = {}
        self._told: Service = "served"
        self._was_refused, self._deaf_since = False, clock()
        self._marks: deque[tuple[float, int]] = deque()

    def polled(self, records: Iterable[Record]) -> None:
        """What the reader gave last: it tells how old the records are that are being applied."""
        found: dict[int, list[Record]] = {}
        for record in records:
            found.setdefault(record.partition, []).append(record)
        self._last |= found

    def check(self) -> None:
        """Nothing, but where the login is refused for longer than `refused_grace_seconds`.

        Raises:
            LoginRefused: as the broker told it.
        """
        seen = self._watch.seen
        if (
            seen.refusal is not None
            and self._clock() - seen.refused_at > self._settings.refused_grace_seconds
        ):
            raise seen.refusal

    def needs_another_reader(self, reader: Reader) -> bool:
        """Whether the broker serves, but this reader does not hear it; asked once for each such silence."""
        service = self._service(reader)
        self._was_refused = self._was_refused or service == "refused"
        answering = self._watch.fresh and service not in ("refused", "throttled")
        if not (answering and self._silence.away):
            self._deaf_since = self._clock()
        # A client that was once refused does not try that broker again.
        if not answering or (not self._was_refused and self._clock() - self._deaf_since < DEAF_SECONDS):
            return False
        self._was_refused, self._deaf_since = False, self._clock()
        return True

    def condition(self, reader: Reader, applied: Positions, lag: Mapping[int, int]) -> Condition:
        """The judgement now; `lag` counts from what was applied."""
        seen, service = self._watch.seen, self._service(reader)
        self._tell(service)
        at = reader.positions()
        readable = {p for p, end in seen.readable.items() if at.get(p, end) < end}
        blocked = {
            p: since
            for p, since in seen.blocked.items()
            if p not in readable and lag.get(p, 0) > 0 and time.time() - since >= BLOCKED_SECONDS
        }
        return Condition(
            service,
            self._cause(service),
            blocked,
            seen.leaderless,
            readable=bool(readable) and self._watch.fresh and service not in ("refused", "throttled"),
            lag_seconds=self._lag_seconds(applied, lag) if service in ("served", "throttled") else None,
            eta_seconds=self._eta_seconds(lag),
        )

    def _service(self, reader: Reader) -> Service:
        if self._watch.seen.refusal is not None:
            return "refused"
        held_back_until = max(reader.throttled_until, self._watch.throttled_until)
        if held_back_until and self._clock() < held_back_until + _THROTTLED_SECONDS:
            return "throttled"
        return "served" if self._watch.fresh and not self._silence.away else "away"

    def _cause(self, service: Service) -> str:
        if service == "served":
            return ""
        if service == "throttled":
            return "the broker holds this client back: a quota of its user or client id is used up"
        return self._watch.seen.cause or HEARING.last or "no answer"

    def _tell(self, service: Service) -> None:
        if service == self._told:
            return
        self._told = service
        servers = self._settings.bootstrap_servers
        if service == "served":
            log.info("broker serves again", bootstrap_servers=servers)
        else:
            cause, grace = self._cause(service), self._settings.refused_grace_seconds
            more = {"ends_in_seconds": grace} if service == "refused" else {}
            log.warning(f"broker {service}", bootstrap_servers=servers, cause=cause, **more)

    def _lag_seconds(self, applied: Positions, lag: Mapping[int, int]) -> float | None:
        ages = [self._age_seconds(p, applied[p]) if behind else 0.0 for p, behind in lag.items()]
        known = [age for age in ages if age is not None]
        return max(0.0, *known) if known else None

    def _eta_seconds(self, lag: Mapping[int, int]) -> float | None:
        """How long the rest takes at the speed at which it became less in the last half minute."""
        now, total = self._clock(), sum(lag.values())
        if not lag:
            self._marks.clear()
            return None
        while self._marks and now - self._marks[0][0] > ETA_SECONDS:
            self._marks.popleft()
        if not self._marks or now - self._marks[-1][0] >= 1.0:
            self._marks.append((now, total))
        then, before = self._marks[0]
        if not total:
            return 0.0
        return total * (now - then) / (before - total) if before > total and now - then >= 3.0 else None

    def _age_seconds(self, partition: int, applied: int) -> float | None:
        """Timestamp of the partition's newest record, less that of the last one before `applied`."""
        last, newest_ms = self._last.get(partition), self._watch.seen.newest_ms.get(partition)
        if not last or newest_ms is None:
            return None
        place = bisect_left(last, applied, key=lambda record: record.offset)
        return (newest_ms - last[max(0, place - 1)].timestamp_ms) / 1000
