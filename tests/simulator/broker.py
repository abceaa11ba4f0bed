"""A broker: its topics, how it serves at the moment, and how long a request waits for it."""

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from streammeta.events import Record
from tests.simulator.clock import Clock
from tests.simulator.log import Log

TOPIC = "tasks"


@dataclass
class Topic:
    """A topic of some partitions; one that is made again has another id."""

    id: str
    logs: list[Log]


@dataclass
class Broker:
    """What clients meet.

    Attributes:
        clock: Time, in which it fails and mends.
        draws: How long it takes, what comes first: of the seed.
        topic: The topic of events; former ones are in `gone`.
        letters: What the dead-letter topic holds.
        committed: What the group was told.
        frozen_until: Connections stand, nothing is answered.
        down_until: Nobody listens.
        refused_until: Logins are refused; open connections are closed.
        throttled_until: Answers come late, and say so.
        letters_until: The dead-letter topic has no leader.
        leaderless: Partition -> until when it has no leader.
        freezes: How often it froze.
        unanswered: Letters that were, or may have been, written without an answer.
        served_at: When it last answered, or could have, before it stopped to.
        began_at: When the client process began.
        remade_at: When the topic was last made again.
        on_told: Called when the group was told offsets.
        unheard: The share of letters that are written without the sender hearing of it.
        life: The client process that lives; what others had begun is not gone on with.
    """

    clock: Clock
    draws: random.Random
    topic: Topic
    gone: list[Topic] = field(default_factory=list)
    letters: list[Record] = field(default_factory=list)
    committed: dict[int, int] = field(default_factory=dict)
    frozen_until: float = -1.0
    down_until: float = -1.0
    refused_until: float = -1.0
    throttled_until: float = -1.0
    letters_until: float = -1.0
    leaderless: dict[int, float] = field(default_factory=dict)
    freezes: int = 0
    life: int = 0
    unheard: float = 0.0
    unanswered: int = 0
    served_at: float = 0.0
    began_at: float = 0.0
    remade_at: float = -1e9
    on_told: Callable[[], None] = lambda: None

    @property
    def serving(self) -> bool:
        """Whether a request on an open connection is answered now."""
        return self.clock.now >= max(self.frozen_until, self.down_until, self.refused_until)

    @property
    def silent_seconds(self) -> float:
        """Since when it does not serve."""
        return 0.0 if self.serving else self.clock.now - self.served_at

    @property
    def refusing(self) -> bool:
        """Whether a login is refused now."""
        return self.reachable and self.clock.now < self.refused_until

    @property
    def reachable(self) -> bool:
        """Whether a connection can be made now."""
        return self.clock.now >= max(self.frozen_until, self.down_until)

    @property
    def upset_until(self) -> float:
        """When it will serve as it should, as far as is known."""
        times = (
            self.frozen_until,
            self.down_until,
            self.refused_until,
            self.throttled_until,
            self.letters_until,
        )
        return max(*times, *self.leaderless.values(), -1.0)

    def led(self, partition: int) -> bool:
        """Whether the partition has a leader."""
        return self.clock.now >= self.leaderless.get(partition, -1.0)

    def wait(self, timeout_seconds: float) -> bool:
        """A request: whether it is answered in time. Takes some milliseconds, or all the time."""
        self.clock.moment()
        if self.serving:
            self.clock.advance(self.draws.uniform(0.0005, 0.003))
        deadline = self.clock.now + timeout_seconds
        while not self.serving and not self.clock.acting:
            left = deadline - self.clock.now
            if left <= 0.001:
                return False
            mends = max(self.frozen_until, self.down_until, self.refused_until)
            self.clock.advance(min(left, max(0.001, mends - self.clock.now)))
            self.clock.moment()
        return self.serving

    def told(self, offsets: Mapping[int, int]) -> None:
        """The group's offsets."""
        self.committed = dict(offsets)
        self.on_told()

    def freeze(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT so much later."""
        self.stop()
        self.frozen_until, self.freezes = self.clock.now + seconds, self.freezes + 1

    def stop(self) -> None:
        """From now on it may not serve."""
        if self.serving:
            self.served_at = self.clock.now

    def grow(self) -> None:
        """Add a partition."""
        self.topic.logs.append(Log())

    def remake(self) -> None:
        """Delete the topic and make it again, empty."""
        self.gone.append(self.topic)
        self.remade_at, number = self.clock.now, len(self.gone)
        self.topic = Topic(f"00000000-0000-0000-0000-{number + 1:012d}", [Log() for _ in self.topic.logs])

    def topics(self) -> Iterable[Topic]:
        """All that there ever were."""
        return [*self.gone, self.topic]
