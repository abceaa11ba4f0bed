"""Where predictions are asked for: many at once, answered from one commit of a store."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from streammeta.serving.about import About, about
from streammeta.serving.asking import Answer, Ask
from streammeta.serving.commits import Commits
from streammeta.serving.predictor import Predictor


class Answered(NamedTuple):
    """Answers of one commit, and how old it was."""

    answers: Sequence[Answer]
    age_seconds: float


@dataclass(frozen=True, slots=True)
class Desk:
    """Answers from the last commit. One thread at a time.

    Attributes:
        commits: The states.
        predictor: Answers from one of them.
        now: Unix time in seconds.
        max_bytes: The largest request.
    """

    commits: Commits
    predictor: Predictor
    now: Callable[[], float]
    max_bytes: int

    def answer(self, asks: Sequence[Ask]) -> Answered:
        """All of them, or none.

        Raises:
            NoAnswer: one cannot be had.
            StateError: nothing was committed yet, or the state is damaged.
        """
        with self.commits.view() as view:
            answers = self.predictor.predict(view, asks)
            return Answered(answers, max(0.0, self.now() - view.written_at_seconds))

    def about(self, task: str) -> About:
        """What can be asked of the task.

        Raises:
            StateError: nothing was committed yet, or the state is damaged.
        """
        with self.commits.view() as view:
            return about(self.predictor, view, task)
