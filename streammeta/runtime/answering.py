"""Records without labels are answered, in stream order, before anything later is learned.

The live state that answers is the learner between two iterations: all iterations before the one in which the
record waits are learned, none after. What waits beside it in an open iteration (`events.batch` above 1) is
not learned yet. So an answer follows from records and order log alone: a restart gives the same bytes.

Invariant: nothing of the state follows from an answer, so a replay that gives none ends in the same bits.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from streammeta.codec import answer_to
from streammeta.episodes.cutter import Asked
from streammeta.errors import BadEvent, NoAnswer, OutOfMemory, Reason
from streammeta.events import Question, Record
from streammeta.learner.engine import Engine
from streammeta.outcomes import Answered
from streammeta.runtime.telling import Telling
from streammeta.serving.asking import Answer, Ask
from streammeta.serving.live import InHand
from streammeta.serving.predictor import Predictor
from streammeta.stream.base import Answers, Waiting

Place = tuple[int, int]
"""Partition and offset."""


@dataclass
class Answering:
    """Answers the questions of a chunk as its iterations come, and sends what was answered when it is over.

    Attributes:
        predictor: Computes; each question alone, so that its bits hang on nothing else.
        sync: Puts the order log on the disk: a power cut must not change what is answered again.
    """

    engine: Engine
    predictor: Predictor
    answers: Answers
    telling: Telling
    sync: Callable[[], object]
    _said: list[tuple[Record, Question, Answer]] = field(init=False, default_factory=list)
    _unanswered: dict[Place, BadEvent] = field(init=False, default_factory=dict)

    @property
    def crowded(self) -> bool:
        """Whether so many answers are unacknowledged that they shall be waited for."""
        return self.answers.crowded

    def answer(self, record: Record, asked: Asked) -> None:
        """Predict from the learner as it stands; the record's task is loaded."""
        try:
            self._said.append((record, asked.question, self._answer(record, asked)))
        except BadEvent as refusal:
            place = record.partition, record.offset
            self._unanswered[place] = BadEvent(refusal.reason, str(refusal), stage="predict")

    def publish(self) -> Mapping[Place, BadEvent]:
        """Send what was answered since the last time, in order; why others were not, by their places."""
        said, self._said = self._said, []
        unanswered, self._unanswered = self._unanswered, {}
        if said:
            self.sync()
        for record, question, answer in said:
            reply = answer_to(
                record,
                question,
                answer.y,
                answer.at,
                events=answer.events,
                task_events=answer.task_events,
            )
            self.answers.send(reply, record)
            self.telling.tell(Answered(self.telling.topic, record.partition, record.offset, answer.at))
        return unanswered

    def flush(self, waiting: Waiting) -> None:
        """Wait until all answers are acknowledged; a record whose answer no topic can hold is set aside."""
        for record, refusal in self.answers.flush(waiting):
            self.telling.unanswered(record, refusal)

    def _answer(self, record: Record, asked: Asked) -> Answer:
        """The answer.

        Raises:
            BadEvent: it cannot be had.
        """
        if record.flaw is not None:
            raise BadEvent(Reason(record.flaw.reason), record.flaw.message)
        question = asked.question
        try:
            (answer,) = self.predictor.predict(
                InHand(self.engine, asked.examples), [Ask(question.task, question.x, question.support)]
            )
        except NoAnswer as refusal:
            raise BadEvent(Reason(refusal.reason), str(refusal)) from refusal
        except MemoryError as error:
            raise OutOfMemory(f"answering it took more memory than there is: {error}") from error
        return answer
