"""Where predictions are asked for: many at once, answered from one commit of each store."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NamedTuple

from streammeta.errors import NoAnswer
from streammeta.serving.about import About, about
from streammeta.serving.asking import Answer, Ask
from streammeta.serving.commits import Commits, CommitView
from streammeta.serving.predictor import Predictor


class Answered(NamedTuple):
    """Answers of one commit, and how old it was; of several ranks the oldest."""

    answers: Sequence[Answer]
    age_seconds: float


@dataclass(frozen=True, slots=True)
class Desk:
    """Answers from the last commit of the rank that knows the task. One thread at a time.

    Attributes:
        commits: The states, of each rank of a group; of tasks that no rank knows the first one answers.
        predictor: Answers from one of them.
        now: Unix time in seconds.
        max_bytes: The largest request.
        count: Told at which parameters answers were made, one for each.
    """

    commits: Sequence[Commits]
    predictor: Predictor
    now: Callable[[], float]
    max_bytes: int
    count: Callable[[Iterable[str]], None] = lambda _: None

    def answer(self, asks: Sequence[Ask]) -> Answered:
        """All of them, or none.

        Raises:
            NoAnswer: one cannot be had.
            StateError: nothing was committed yet, or the state is damaged.
        """
        with ExitStack() as stack:
            views = [stack.enter_context(commits.view()) for commits in self.commits]
            answers = dict[int, Answer]()
            for view, numbers in _by_home(views, asks):
                answers.update(zip(numbers, self._answers(view, asks, numbers), strict=True))
            self.count(answers[number].at for number in range(len(asks)))
            oldest = min(view.written_at_seconds for view in views)
        return Answered([answers[number] for number in range(len(asks))], max(0.0, self.now() - oldest))

    def about(self, task: str) -> About:
        """What can be asked of the task.

        Raises:
            StateError: nothing was committed yet, or the state is damaged.
        """
        with ExitStack() as stack:
            views = [stack.enter_context(commits.view()) for commits in self.commits]
            home = next((view for view in views if view.task(task) is not None), views[0])
            return about(self.predictor, home, task)

    def _answers(self, view: CommitView, asks: Sequence[Ask], numbers: Sequence[int]) -> Sequence[Answer]:
        try:
            return self.predictor.predict(view, [asks[number] for number in numbers])
        except NoAnswer as refusal:
            raise NoAnswer(refusal.reason, refusal.field, str(refusal), numbers[refusal.number]) from refusal


def _by_home(views: Sequence[CommitView], asks: Sequence[Ask]) -> Iterator[tuple[CommitView, list[int]]]:
    """The views that know what is asked, each with the numbers of what it is asked."""
    if len(views) == 1:
        yield views[0], [*range(len(asks))]
        return
    homes: dict[int, list[int]] = {}
    for number, ask in enumerate(asks):
        home = next((home for home, view in enumerate(views) if view.task(ask.task) is not None), 0)
        homes.setdefault(home, []).append(number)
    for home, numbers in homes.items():
        yield views[home], numbers
