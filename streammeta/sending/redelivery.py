"""Dead letters back onto the topic that they came from, each as it was there, and each once.

Records and the note that they were put back (`stream.kafka.letters`) are one transaction: after any kill
both are there, or neither is. A second sender ends what the first left open, and keeps it from going on.
The embedded broker shows rows of transactions that a kill cut off, too: there some may be seen twice.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from kafka import KafkaAdminClient

from streammeta.errors import ConfigError
from streammeta.sending.transactions import Target, Transactions
from streammeta.stream.kafka.access import KafkaSettings, connected
from streammeta.stream.kafka.letters import Letter, Notes, dead_letter_records, letter_of, note_of
from streammeta.stream.kafka.topics import Administration

TRANSACTION_LETTERS = 1_000
TRANSACTION_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """Letters that meet all of these; an empty set is met by all."""

    reasons: frozenset[str] = frozenset()
    tasks: frozenset[bytes] = frozenset()

    def holds(self, letter: Letter) -> bool:
        """Whether the letter is wanted."""
        return (not self.reasons or letter.reason in self.reasons) and (
            not self.tasks or letter.original.key in self.tasks
        )


@dataclass
class Redelivered:
    """What became of the wanted letters.

    Attributes:
        topic: Where they were put back.
        sent: Put back now; by reason.
        before: Put back by an earlier call.
        elsewhere: Of other topics, left where they are.
        incomplete: Without the value or the key of their record, which is not theirs to put back.
        foreign: Records of the dead-letter topic that streammeta did not put there.
        done: Whether all were looked at; a signal may end it before.
    """

    topic: str
    sent: Counter[str] = field(default_factory=Counter)
    before: int = 0
    elsewhere: int = 0
    incomplete: int = 0
    foreign: int = 0
    done: bool = True


class Redelivery:
    """Puts wanted letters back."""

    def __init__(
        self,
        kafka: KafkaSettings,
        dead_letters: KafkaSettings,
        wanted: Wanted,
        keep_going: Callable[[], bool],
    ) -> None:
        """`kafka`: how to reach the source topic; `dead_letters`: the same for the dead-letter topic."""
        self._kafka, self._dead_letters, self._wanted = kafka, dead_letters, wanted
        self._keep_going = keep_going
        self._told = Redelivered(kafka.topic)
        self._open: defaultdict[int, list[Letter]] = defaultdict(list)

    def plan(self, *, again: bool = False) -> Redelivered:
        """What `run` would do. Raises as `dead_letter_records`."""
        for letter in self._chosen(Notes() if again else self._notes()):
            self._told.sent[letter.reason] += 1
        return self._told

    def run(self, *, again: bool = False, tell: Callable[[int], None] = lambda _: None) -> Redelivered:
        """Put back what was not put back yet (`again`: all), up to the end or a stop.

        Args:
            again: Also what was put back before.
            tell: Hears how many were put back, after each transaction.

        Raises:
            ConfigError: the source topic lacks the partition of a letter.
            BrokerUnavailable, BrokerRefused: each with its remedy. Call it again to go on.
        """
        partitions = self._partitions()
        sender = f"streammeta-dlq-{self._dead_letters.topic}"
        target = Target(self._kafka, self._kafka.topic, sender)
        with Transactions(target, self._keep_going) as transactions:
            for letter in self._chosen(Notes() if again else self._notes()):
                self._check_partition(letter, partitions)
                transactions.send(letter.original)
                self._open[letter.partition].append(letter)
                if (
                    transactions.open_rows >= TRANSACTION_LETTERS
                    or transactions.open_bytes >= TRANSACTION_BYTES
                ):
                    self._commit(transactions)
                    tell(self._told.sent.total())
                if not self._keep_going():
                    self._told.done = False
                    break
            self._commit(transactions)
        return self._told

    def _commit(self, transactions: Transactions) -> None:
        for partition, letters in self._open.items():
            offsets = [letter.offset for letter in letters]
            transactions.send(note_of(partition, offsets, self._dead_letters.topic))
        transactions.commit()
        for letters in self._open.values():
            self._told.sent.update(letter.reason for letter in letters)
        self._open.clear()

    def _notes(self) -> Notes:
        notes = Notes()
        for record in dead_letter_records(self._dead_letters, self._keep_going):
            notes.read(record)
        return notes

    def _chosen(self, before: Notes) -> Iterator[Letter]:
        """The letters to be put back; the others are counted."""
        for record in dead_letter_records(self._dead_letters, self._keep_going):
            letter = letter_of(record)
            if letter is None:
                self._told.foreign += not Notes().read(record)
            elif self._wanted.holds(letter):
                if letter.original.topic != self._kafka.topic:
                    self._told.elsewhere += 1
                elif letter.omitted:
                    self._told.incomplete += 1
                elif before.hold(letter.partition, letter.offset):
                    self._told.before += 1
                else:
                    yield letter

    def _partitions(self) -> frozenset[int]:
        """Those of the source topic; both topics can be written to."""
        with connected(KafkaAdminClient, self._kafka, self._keep_going) as admin:
            administration = Administration(admin, self._kafka, self._keep_going)
            if administration.find(self._dead_letters.topic, "Write") is not None:
                administration.require_writable(self._dead_letters.topic)
            return administration.require_writable(self._kafka.topic).partitions

    def _check_partition(self, letter: Letter, partitions: frozenset[int]) -> None:
        original = letter.original
        if original.partition not in partitions:
            raise ConfigError(
                f"topic {original.topic!r} has {len(partitions)} partitions, and lacks partition "
                f"{original.partition}, from which a dead letter came (offset {original.offset}); give it as "
                "many as it had"
            )
