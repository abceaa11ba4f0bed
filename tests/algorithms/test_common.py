"""What every learner promises, on every problem."""

from functools import cache, partial

import pytest
import torch
from torch import Tensor

from streammeta.algorithms.base import MetaLearner, State
from streammeta.events import Batch, Episode
from streammeta.learner.flat import state_tensors
from streammeta.state.checkpoint import Checkpoint, Origin, pack, unpack
from streammeta.state.progress import Progress
from tests.algorithms.learners import COUPLED, LEARNERS, SEVERAL_STEPS, TOGETHER
from tests.algorithms.problems import PROBLEMS, Problem, generator
from tests.algorithms.traced import Step, traced

CASES = [(name, problem) for name in LEARNERS for problem in PROBLEMS]


@pytest.fixture(params=CASES, ids=["-".join(case) for case in CASES])
def case(request: pytest.FixtureRequest) -> tuple[MetaLearner, Problem]:
    """A learner on a problem."""
    name, problem = request.param
    return LEARNERS[name](PROBLEMS[problem]), PROBLEMS[problem]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """As in the daemon; for these sizes it is also the fastest."""
    torch.set_num_threads(1)


@cache
def graph_of(name: str, problem: str, together: int) -> Step:
    """A learner's update as one graph, for `together` tasks an iteration: the same, faster."""
    learner, draws = LEARNERS[name](PROBLEMS[problem]), generator(1)
    like = learner.init(PROBLEMS[problem].start(draws))
    return traced(learner, like, PROBLEMS[problem].episode(draws, together))


def walk(
    learner: MetaLearner,
    problem: Problem,
    *,
    seed: int,
    events: int,
    tasks: int = 3,
    together: int = 1,
    update: Step | None = None,
    interrupted: int | None = None,
) -> tuple[State, Tensor]:
    """Learn from iterations over `together` tasks each that visit the tasks in turn, `events` in all.

    After `interrupted` of them the state goes through a checkpoint. The last state and all memories.
    """
    draws = generator(seed)
    state = learner.init(problem.start(draws))
    memories = torch.zeros(tasks, learner.memory_size, dtype=torch.float64)
    visits = torch.zeros(tasks, dtype=torch.float64)
    for event in range(0, events, together):
        if event == interrupted:
            state, memories = stored(state), torch.from_numpy(memories.numpy().copy())
        i = torch.arange(event, event + together) % tasks
        episode = problem.episode(draws, together)
        state, rows, _ = (update or learner.update)(state, memories[i], visits[i], episode)
        memories, visits = memories.index_copy(0, i, rows), visits.index_fill(0, i, 1)
    return state, memories


def stored(state: State) -> State:
    """The state as it comes back from a checkpoint."""
    origin = Origin({}, "", (), "float64")
    return unpack(pack(Checkpoint(origin, state, Progress(), positions={}, refused={}))).state


def test_update_leaves_its_inputs_untouched(case: tuple[MetaLearner, Problem]) -> None:
    """`update` is pure: the former state, memories and episode keep their bits."""
    learner, problem = case
    state, memories = walk(learner, problem, seed=1, events=3)
    memory, episode = memories[:1], problem.episode(generator(2))
    inputs = [*state_tensors(state), memory, *episode.support, *episode.query]
    before = [tensor.clone() for tensor in inputs]
    after, moved, info = learner.update(state, memory, torch.ones(1, dtype=torch.float64), episode)
    assert all(torch.equal(a, b) for a, b in zip(before, inputs, strict=True))
    assert info.gradient_norm > 0
    assert not (torch.equal(after.params, state.params) and torch.equal(moved, memory))


def test_same_seed_gives_the_same_bits(case: tuple[MetaLearner, Problem]) -> None:
    """Two runs over the same draws end alike, and other draws end elsewhere."""
    learner, problem = case
    one, two, other = (walk(learner, problem, seed=seed, events=5) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(state_tensors(one[0]), state_tensors(two[0]), strict=True))
    assert torch.equal(one[1], two[1])
    assert not (torch.equal(one[0].params, other[0].params) and torch.equal(one[1], other[1]))


@pytest.mark.parametrize("name", LEARNERS)
def test_a_run_is_resumed_in_the_middle(name: str) -> None:
    """State and memories that went through a checkpoint go on to the same bits."""
    problem = PROBLEMS["quadratic"]
    run = partial(walk, LEARNERS[name](problem), problem, seed=9, events=9)
    whole, resumed = (run(update=graph_of(name, "quadratic", 1), interrupted=at) for at in (None, 4))
    assert all(
        torch.equal(a, b) for a, b in zip(state_tensors(whole[0]), state_tensors(resumed[0]), strict=True)
    )
    assert all(
        a.dtype == b.dtype for a, b in zip(state_tensors(whole[0]), state_tensors(resumed[0]), strict=True)
    )
    assert torch.equal(whole[1], resumed[1])


@pytest.mark.parametrize("together", [1, 3])
@pytest.mark.parametrize("name", LEARNERS)
def test_a_trace_gives_the_bits_of_the_learner(name: str, together: int) -> None:
    """The graph that the daemon runs learns what the Python code learns, first visits and later ones."""
    problem = PROBLEMS["sinusoid"]
    run = partial(walk, LEARNERS[name](problem), problem, seed=10, events=9, together=together)
    eager, graph = run(), run(update=graph_of(name, "sinusoid", together))
    assert all(
        torch.equal(a, b) for a, b in zip(state_tensors(eager[0]), state_tensors(graph[0]), strict=True)
    )
    assert torch.equal(eager[1], graph[1])


@pytest.mark.parametrize("problem_name", PROBLEMS)
@pytest.mark.parametrize("name", sorted(LEARNERS.keys() - COUPLED))
def test_batch_of_tasks_is_the_mean_of_its_tasks(name: str, problem_name: str) -> None:
    """Of B tasks at once each is treated as if it were alone, and the meta-gradient is their mean."""
    problem = PROBLEMS[problem_name]
    learner = LEARNERS[name](problem)
    state, memory = walk(learner, problem, seed=5, events=4, tasks=4)
    episode = problem.episode(generator(6), tasks=4)
    seen = torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    _, together, info = learner.update(state, memory, seen, episode)
    for i in range(4):
        one = Episode(*(Batch(batch.x[i : i + 1], batch.y[i : i + 1]) for batch in episode))
        _, alone, alone_info = learner.update(state, memory[i : i + 1], seen[i : i + 1], one)
        torch.testing.assert_close(together[i], alone[0], rtol=1e-12, atol=1e-12)
        for field in ("loss_meta", "loss_adapted", "loss_memory", "tracking_error"):
            torch.testing.assert_close(
                getattr(info, field)[i], getattr(alone_info, field)[0], rtol=1e-9, atol=1e-12, equal_nan=True
            )


@pytest.mark.parametrize("problem_name", PROBLEMS)
@pytest.mark.parametrize("name", LEARNERS)
def test_learning_lowers_the_adapted_loss(name: str, problem_name: str) -> None:
    """After 200 events the loss after adaptation, averaged over fresh draws, fell by a tenth at least.

    A learner whose meta-parameters stay is judged by the tasks' own parameters instead.
    """
    problem, together = PROBLEMS[problem_name], 3 if name in TOGETHER else 1
    learner, events = LEARNERS[name](problem), 201 if name in TOGETHER else 200
    update = graph_of(name, problem_name, together)
    first, _ = walk(learner, problem, seed=7, events=0)
    last, memories = walk(learner, problem, seed=7, events=events, together=together, update=update)
    draws = generator(11)
    episodes = [problem.episode(draws) for _ in range(50)]
    support, query = (
        Batch(*(torch.cat(column) for column in zip(*one, strict=True)))
        for one in zip(*episodes, strict=True)
    )

    def adapted(state: State) -> float:
        params = torch.func.vmap(partial(learner.adapt, state))(support)
        return torch.func.vmap(problem.loss)(params, *query).mean().item()

    if torch.equal(first.params, last.params):
        assert learner.task_params
        at_query = torch.func.vmap(problem.loss, in_dims=(None, 0, 0))
        own = [at_query(learner.task_params(last, row), *query).mean().item() for row in memories]
        assert max(own) < 0.9 * adapted(first)
    else:
        assert adapted(last) < 0.9 * adapted(first)


def test_task_params_are_there_where_a_memory_is(case: tuple[MetaLearner, Problem]) -> None:
    """What is exported of a task: d finite numbers that its visit has moved, for each row of memory."""
    learner, problem = case
    state, memories = walk(learner, problem, seed=12, events=5)
    assert learner.task_params is None or learner.memory_size > 0
    for row in memories:
        if learner.task_params:
            params = learner.task_params(state, row)
            assert params.shape == (problem.dimension,)
            assert params.isfinite().all()
            assert not torch.equal(params, state.params)


@pytest.mark.parametrize("problem_name", PROBLEMS)
@pytest.mark.parametrize("name", sorted(LEARNERS.keys() - SEVERAL_STEPS))
def test_adapt_is_one_inner_step(name: str, problem_name: str) -> None:
    """`adapt` gives w − α∇l(w;S), with the gradient of autograd."""
    problem = PROBLEMS[problem_name]
    learner = LEARNERS[name](problem)
    draws = generator(13)
    params = problem.start(draws)
    support = problem.draw(draws)
    leaf = params.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(problem.loss(leaf, *support), leaf)
    assert gradient.norm() > 1e-3
    torch.testing.assert_close(learner.adapt(learner.init(params), support), params - 0.1 * gradient)
