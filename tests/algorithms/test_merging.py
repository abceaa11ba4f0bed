"""What ranks that learned apart become: means of numbers, the largest of counts, and what stays their own."""

import pytest
import torch
from torch import Tensor

from streammeta.algorithms.base import MetaLearner, State
from streammeta.algorithms.merging import counts_of, largest, mean_state, numbers_of, shares
from streammeta.learner.flat import state_tensors
from tests.algorithms.learners import LEARNERS, TOGETHER
from tests.algorithms.problems import PROBLEMS, generator

PROBLEM = PROBLEMS["quadratic"]
UNITING = [name for name, build in LEARNERS.items() if not isinstance(build(PROBLEM).merge, str)]
APART = ["bspiderboost"]


def together(name: str) -> int:
    """Tasks of an iteration."""
    return 3 if name in TOGETHER else 1


def united(learner: MetaLearner, states: list[State], weights: list[int]) -> list[State]:
    """The definition: each rank's state after a round, one after the other."""
    numbers = sum(
        (share * numbers_of(state) for share, state in zip(shares(weights), states, strict=True)),
        torch.zeros((), dtype=torch.float64),
    )
    counts = largest([counts_of(state) for state in states])
    assert not isinstance(learner.merge, str)
    return [learner.merge(state, mean_state(state, numbers, counts)) for state in states]


def learned(learner: MetaLearner, seed: int, events: int, tasks: int = 1) -> tuple[State, Tensor]:
    """A state and the memories of the last iteration's tasks after so many iterations of a seed."""
    draws = generator(seed)
    state = learner.init(PROBLEM.start(generator(0)))
    memory, seen = torch.zeros(tasks, learner.memory_size, dtype=torch.float64), torch.zeros(tasks).double()
    for _ in range(events):
        state, memory, _ = learner.update(state, memory, seen, PROBLEM.episode(draws, tasks))
        seen = seen + 1
    return state, memory


def test_those_that_cannot_say_why() -> None:
    """All of the table can but these."""
    assert sorted(set(LEARNERS) - set(UNITING)) == APART
    assert all("mean" in str(LEARNERS[name](PROBLEM).merge) for name in APART)


@pytest.mark.parametrize("name", UNITING)
def test_a_state_survives_being_sent(name: str) -> None:
    """Numbers and counts, taken apart and put together: the same bits."""
    state, _ = learned(LEARNERS[name](PROBLEM), 1, 3, together(name))
    back = mean_state(state, numbers_of(state), counts_of(state))
    assert all(torch.equal(a, b) for a, b in zip(state_tensors(state), state_tensors(back), strict=True))


@pytest.mark.parametrize("name", UNITING)
def test_ranks_that_stand_alike_stay_there(name: str) -> None:
    """Whatever they weigh; and the learning rates stay a rank's own."""
    learner = LEARNERS[name](PROBLEM)
    state, _ = learned(learner, 1, 3, together(name))
    other = state._replace(meta_lr=state.meta_lr * 2)
    first, second = united(learner, [state, other], [3, 1])
    for before, after in zip(state_tensors(state), state_tensors(first), strict=True):
        torch.testing.assert_close(after, before, rtol=1e-14, atol=1e-14)
    assert torch.equal(second.meta_lr, other.meta_lr)


@pytest.mark.parametrize("name", UNITING)
def test_united_ranks_go_on(name: str) -> None:
    """After a round each rank learns on from one w, and a rank that learned nothing has weighed nothing."""
    learner, tasks = LEARNERS[name](PROBLEM), together(name)
    worked, memory = learned(learner, 1, 4, tasks)
    idle, _ = learned(learner, 2, 1, tasks)
    after = united(learner, [worked, idle], [4, 0])
    for state in after:
        torch.testing.assert_close(state.params, worked.params)
        following, _, _ = learner.update(
            state, memory, torch.ones(tasks).double(), PROBLEM.episode(generator(3), tasks)
        )
        assert all(bool(tensor.isfinite().all()) for tensor in state_tensors(following))


def test_one_step_each_is_one_step_of_all() -> None:
    """R ranks one step from the same w, with momentum: the step of one learner over R tasks."""
    learner = LEARNERS["moml"](PROBLEM)
    start, _ = learned(learner, 1, 3)
    episodes = PROBLEM.episode(generator(5), 2)
    memory, seen = torch.zeros(2, learner.memory_size, dtype=torch.float64), torch.zeros(2).double()
    whole, _, _ = learner.update(start, memory, seen, episodes)
    halves = [
        learner.update(
            start,
            memory[:1],
            seen[:1],
            type(episodes)(*(type(b)(b.x[n : n + 1], b.y[n : n + 1]) for b in episodes)),
        )[0]
        for n in range(2)
    ]
    for state in united(learner, halves, [1, 1]):
        for one, other in zip(state_tensors(state), state_tensors(whole), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_the_lazy_memories_of_v2_keep_their_count() -> None:
    """Counts are the rank's own: a memory decays by the iterations of its rank, and moves with A alone."""
    learner = LEARNERS["moml-v2"](PROBLEM)
    (busy, _), (calm, memory) = learned(learner, 1, 9), learned(learner, 2, 2)
    assert learner.task_params is not None
    after = united(learner, [busy, calm], [9, 2])[1]
    moved = learner.task_params(after, memory[0]) - learner.task_params(calm, memory[0])
    torch.testing.assert_close(moved, after.slots["average"] - calm.slots["average"])
    assert after.slots["iterations"] == calm.slots["iterations"]
    assert after.slots["tasks"] == calm.slots["tasks"]
