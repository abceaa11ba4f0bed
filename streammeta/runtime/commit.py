"""Hops 5 and 6: a checkpoint, written beside the loop while it goes on learning.

At most one commit is under way. Until it has ended, the order log keeps what it contains, and rows that it
takes along stay in RAM.
"""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from threading import Thread

from streammeta.clock import Clock
from streammeta.events import Positions
from streammeta.outcomes import Checkpointed
from streammeta.runtime.intake import Intake
from streammeta.runtime.orders import OrderLog
from streammeta.state.checkpoint import Checkpoint, Origin, pack
from streammeta.state.store import Store
from streammeta.stream.base import Source

Aside = Callable[[Callable[[], int]], "Future[int]"]
"""Has something done that gives the number of bytes written, some time."""


def in_thread(write: Callable[[], int]) -> "Future[int]":
    """Do it in a thread of its own."""
    future: Future[int] = Future()

    def run() -> None:
        try:
            future.set_result(write())
        except BaseException as error:  # noqa: BLE001 (raised again where the result is asked for)
            future.set_exception(error)

    Thread(target=run, name="commit").start()
    return future


def at_once(write: Callable[[], int]) -> "Future[int]":
    """Do it now."""
    future: Future[int] = Future()
    future.set_result(write())
    return future


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A commit that has begun.

    Attributes:
        written: The bytes, when it has ended.
        positions: What the state will contain.
        began_seconds: When it began.
    """

    written: "Future[int]"
    positions: Positions
    began_seconds: float


@dataclass
class Commits:
    """Makes checkpoints.

    Attributes:
        history: What watchers keep with the state, as of all outcomes told so far.
        waiting: Told while the dead letters wait for a broker.
        aside: Runs the write.
        constants: What the store does not hold yet of the model: committed with the first checkpoint.
        united: What the ranks united to since the last commit began: committed with the next one.
        began_seconds: When the last one began.
        positions: What the last one that began contains.
    """

    source: Source
    intake: Intake
    store: Store
    order_log: OrderLog
    origin: Origin
    clock: Clock
    history: Callable[[], bytes]
    waiting: Callable[[], None]
    aside: Aside
    constants: bytes | None = None
    united: bytes | None = field(init=False, default=None)
    began_seconds: float = field(init=False, default=0.0)
    positions: Positions = field(init=False, default_factory=dict)
    _under_way: UnderWay | None = field(init=False, default=None)

    def now(self) -> None:
        """A whole commit, from its first step to its last."""
        self.begin()
        self.end()

    def begin(self) -> None:
        """Steps 1 to 4; waits for the commit that is under way, if one is.

        1. Answers and dead letters are acknowledged. 2. The recording, if any, is on the disk. 3. Dirty rows,
        meta state and next offsets are copied. 4. The store writes them in one transaction, aside.
        """
        self.end()
        self.began_seconds = self.clock.monotonic()
        intake, ledger = self.intake, self.intake.ledger
        if intake.answering is not None:
            intake.answering.flush(self.waiting)
        intake.telling.dead_letters.flush(self.waiting)
        mark = intake.tape.sync(ledger.positions, ledger.topic_id)
        engine, positions = intake.engine, dict(ledger.positions)
        self.positions = positions
        checkpoint = Checkpoint(
            origin=self.origin,
            state=engine.state,
            progress=engine.progress,
            positions=positions,
            refused=dict(ledger.refused),
            topic_id=ledger.topic_id,
            tally=ledger.tally,
            recording=mark,
            executors=sorted(engine.executors.names),
            quarantine=engine.quarantine.held,
            ids=intake.ids.extent,
            standing=ledger.standing,
        )
        united, self.united = self.united, None
        meta = replace(pack(checkpoint), history=self.history(), ids=intake.ids.changed(), united=united)
        rows, params_of = engine.memories.dirty(), engine.params_of
        engine.memories.leave()
        ledger.since_checkpoint = 0
        constants, self.constants = self.constants, None
        write = self.aside(lambda: self.store.commit(meta, rows.rows(params_of), constants))
        self._under_way = UnderWay(write, positions, self.began_seconds)

    def look(self) -> None:
        """End the commit that is under way, if its write has ended."""
        if self._under_way is not None and self._under_way.written.done():
            self.end()

    def end(self) -> None:
        """Steps 5 to 7 of the commit that is under way, if one is; waits for its write.

        5. The order log forgets what the state contains. 6. The tape may let go of it. 7. The broker is told
        the offsets, for lag tools only.

        Raises:
            StreammetaError: the write failed; the former commit stands, and the program must end.
        """
        if self._under_way is None:
            return
        done, self._under_way = self._under_way, None
        try:
            written = done.written.result()
        except Exception:
            self._tell(ok=False, began_seconds=done.began_seconds, written=0)
            raise
        self.intake.engine.memories.cleaned()
        self.order_log.forget(done.positions)
        self.intake.tape.committed()
        self.source.committed(done.positions)
        self._tell(ok=True, began_seconds=done.began_seconds, written=written)

    def rest(self) -> None:
        """Wait for a write that is under way when the loop has failed: it needs its store."""
        if self._under_way is not None:
            self._under_way.written.exception()

    def _tell(self, *, ok: bool, began_seconds: float, written: int) -> None:
        self.intake.telling.tell(
            Checkpointed(
                ok=ok,
                seconds=self.clock.monotonic() - began_seconds,
                bytes=written,
                timestamp_seconds=self.clock.now(),
                tasks_cached=len(self.intake.engine.memories),
                tasks_stored=self.store.count(),
                quarantined=self.intake.engine.quarantine.held,
            )
        )
