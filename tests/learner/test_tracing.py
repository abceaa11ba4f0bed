"""The traced step: the bits of the eager one, and refusals that cost no other event."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from streammeta.algorithms.base import Info, State
from streammeta.algorithms.maml import maml
from streammeta.algorithms.outer import Outer, Slots
from streammeta.errors import BadEvent, ConfigError, Reason, StreammetaError
from streammeta.events import Array, Episode, episode_of
from streammeta.learner import tracing
from streammeta.learner.engine import Engine
from streammeta.learner.flat import Signature
from streammeta.learner.graphs import FlatStep, refuse_machine_fault, trace
from streammeta.learner.tracing import Steps
from streammeta.models.network import Network
from streammeta.state.memories import Memories
from streammeta.state.progress import Progress
from tests.learning import learn as learn_from
from tests.learning import nothing_stored
from tests.networks import LEARNERS, arrays, classifier, event, labelled, network, stacked

HERE = "tests.networks"


def sine_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """A loss of the user that never changes shape by broadcasting, with a constant of its own."""
    weight = torch.linspace(1, 2, prediction.shape[0], dtype=prediction.dtype)[:, None]
    return (weight * torch.sin(prediction - target) ** 2).mean()


def images(draws: np.random.Generator) -> Episode[Array]:
    """Three classes of noise, of 16 × 16 pixels."""
    x = draws.normal(size=(6, 1, 16, 16)).astype(np.float32)
    y = np.array([0, 1, 2, 2, 0, 1])
    return episode_of(x[:4], y[:4], x[4:], y[4:])


def conv4(norm: str, dtype: str) -> Network:
    """The few-shot network with two channels, and three of its 16 × 16 images' classes."""
    args = {"ways": 3, "channels": 2, "image_size": 16, "norm": norm}
    return network("streammeta.models:conv4", args, loss="cross_entropy", dtype=dtype)


def flat(state: State, memory: Tensor, info: Info) -> list[Tensor]:
    """All that a step gives."""
    return [state.params, *state.outer.values(), *state.slots.values(), memory, *info]


def same_bits(one: Sequence[Tensor], two: Sequence[Tensor]) -> bool:
    """Whether all tensors hold the same bytes, NaN included."""
    return all(a.numpy().tobytes() == b.numpy().tobytes() for a, b in zip(one, two, strict=True))


def assert_traced_is_eager(
    made: Network, learner_name: str, draws: Sequence[Episode[Array]], *, exact: bool = True
) -> None:
    """Learn from the episodes both ways; the same bits (or to rounding) after each; something was learned."""
    learner = LEARNERS[learner_name](made)
    steps = Steps(learner, made)
    state = learner.init(made.initial)
    memory = torch.zeros(1, learner.memory_size, dtype=made.dtype)
    for visit, drawn in enumerate(draws):
        episode = stacked(made.tensors(drawn))
        seen = torch.full((1,), float(visit > 0), dtype=made.dtype)
        after, moved, info, finite, _ = steps.step(state, memory, seen, episode)
        with torch.no_grad():
            eager = learner.update(state, memory, seen, episode)
        assert finite
        assert info.gradient_norm > 1e-6
        assert not torch.equal(after.params, state.params)
        if exact:
            assert same_bits(flat(after, moved, info), flat(*eager))
        for found, plain in zip(flat(after, moved, info), flat(*eager), strict=True):
            torch.testing.assert_close(found, plain, rtol=1e-12, atol=1e-12, equal_nan=True)
        state, memory = after, moved


@pytest.mark.parametrize(
    ("learner", "dtype"),
    [*((name, "float32") for name in LEARNERS), ("moml", "float64"), ("maml", "float64")],
)
def test_mlp_with_mse(learner: str, dtype: str) -> None:
    """Every algorithm, over visits of one task; in float64 too."""
    draws = np.random.default_rng(1)
    assert_traced_is_eager(network(dtype=dtype), learner, [arrays(draws) for _ in range(3)])


@pytest.mark.parametrize(
    ("learner", "dtype"), [("moml", "float32"), ("moml-half", "float64"), ("maml", "float32")]
)
def test_mlp_with_cross_entropy(learner: str, dtype: str) -> None:
    """Class numbers are integers in the graph."""
    draws = np.random.default_rng(2)
    assert_traced_is_eager(classifier(dtype=dtype), learner, [labelled(draws) for _ in range(3)])


@pytest.mark.parametrize(
    ("learner", "loss"),
    [("moml", "mse"), ("fo-maml", "huber"), ("maml", "bce"), ("moml", f"{__name__}:sine_loss")],
)
def test_linear_with_any_loss(learner: str, loss: str) -> None:
    """Built-in losses, and one of the user's with a constant inside."""
    draws = np.random.default_rng(3)
    made = network("streammeta.models:linear", {"inputs": 2}, loss=loss)
    assert_traced_is_eager(made, learner, [arrays(draws) for _ in range(3)], exact=loss != "bce")


@pytest.mark.parametrize(
    ("norm", "dtype", "learner"),
    [
        ("batch", "float32", "moml"),
        ("batch", "float64", "moml-first-order"),
        ("group", "float64", "maml"),
        ("group", "float32", "fo-maml"),
    ],
)
def test_conv4_with_cross_entropy(norm: str, dtype: str, learner: str) -> None:
    """Convolutions, pooling and both normalisations, also through their second derivatives."""
    draws = np.random.default_rng(4)
    assert_traced_is_eager(conv4(norm, dtype), learner, [images(draws) for _ in range(2)])


@pytest.mark.parametrize("learner", ["moml", "maml"])
def test_several_tasks_at_once(learner: str) -> None:
    """A batch of three tasks, one of them on its first visit."""
    draws = np.random.default_rng(5)
    made = network(dtype="float32")
    chosen = LEARNERS[learner](made)
    state = chosen.init(made.initial)
    memory = torch.randn(3, chosen.memory_size, generator=torch.Generator().manual_seed(6))
    seen = torch.tensor([1.0, 0.0, 1.0])
    episode = stacked(*(made.tensors(arrays(draws)) for _ in range(3)))
    after, moved, info, finite, _ = Steps(chosen, made).step(state, memory, seen, episode)
    with torch.no_grad():
        eager = chosen.update(state, memory, seen, episode)
    assert finite
    assert same_bits(flat(after, moved, info), flat(*eager))


@pytest.mark.parametrize("limit", [2, 0])
def test_shapes_beyond_the_limit_are_learned_the_same(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several sizes of sets, in turn: traced or, beyond `MAX_TRACES`, eager, the bits are the same."""
    monkeypatch.setattr(tracing, "MAX_TRACES", limit)
    draws = np.random.default_rng(7)
    sizes = [(4, 3), (2, 5), (1, 1), (4, 3), (1, 1), (6, 2), (2, 5)]
    episodes = [arrays(draws, support, query) for support, query in sizes]
    assert_traced_is_eager(network(), "moml", episodes)


def test_named_state_keeps_its_names() -> None:
    """The order of a dict says nothing: a restored state may hold its tensors in another one."""

    def init(params: Tensor) -> dict[str, Tensor]:
        return {"slow": torch.zeros_like(params), "fast": torch.zeros_like(params)}

    def update(
        params: Tensor, gradient: Tensor, slots: Slots, lr: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        fast, slow = slots["fast"] + gradient, slots["slow"] + 0.1 * gradient
        return params - lr * fast, {"fast": fast, "slow": slow}

    made = network()
    learner = maml(made.loss, Outer(init, update), inner_lr=0.1, meta_lr=0.05)
    steps, state = Steps(learner, made), learner.init(made.initial)
    memory, seen = torch.zeros(1, 0, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    draws = np.random.default_rng(10)
    for turned in (False, True):
        if turned:
            state = state._replace(outer=dict(sorted(state.outer.items(), reverse=True)))
        episode = stacked(made.tensors(arrays(draws)))
        after, *_ = steps.step(state, memory, seen, episode)
        with torch.no_grad():
            expected, _, _ = learner.update(state, memory, seen, episode)
        assert not torch.equal(expected.outer["fast"], expected.outer["slow"])
        assert {n: t.tolist() for n, t in after.outer.items()} == {
            n: t.tolist() for n, t in expected.outer.items()
        }
        state = after


def test_a_shape_is_traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next event of a known shape costs no trace, and a new rate none either."""
    traced: list[int] = []

    def counted(step: FlatStep, inputs: list[Tensor]) -> FlatStep:
        traced.append(len(inputs))
        return trace(step, inputs)

    monkeypatch.setattr(tracing, "trace", counted)
    engine, draws = engine_of(network()), np.random.default_rng(8)
    for support in (4, 2, 4, 2):
        learn(engine, arrays(draws, support))
    engine.set_rates(0.5, 0.25)
    learn(engine, arrays(draws, 2))
    assert len(traced) == 2


def engine_of(made: Network, learner: str = "fo-maml") -> Engine:
    """An engine without a store; the default is the quickest to trace."""
    chosen = LEARNERS[learner](made)
    memories = Memories(nothing_stored, made.initial.new_zeros(chosen.memory_size), 100)
    return Engine(made, Steps(chosen, made), chosen.init(made.initial), Progress(), memories)


def learn(engine: Engine, episode: Episode[Array], task: str = "a") -> None:
    """Learn from one event, as the loop does."""
    learn_from(engine, event(task, episode))


def refusal(engine: Engine, episode: Episode[Array]) -> BadEvent:
    """The refusal that an event meets; nothing may have changed."""
    before = engine.state.params.clone(), engine.progress, len(engine.memories)
    with pytest.raises(BadEvent) as refused:
        learn(engine, episode)
    assert torch.equal(engine.state.params, before[0])
    assert (engine.progress, len(engine.memories)) == before[1:]
    assert refused.value.stage == "step"
    return refused.value


def with_query_y(episode: Episode[Array], y: Array) -> Episode[Array]:
    """The same with another y in the query set."""
    return episode_of(*episode.support, episode.query.x, y)


@pytest.fixture
def draws() -> np.random.Generator:
    """Numbers of this test alone."""
    return np.random.default_rng(9)


@pytest.fixture(params=["bad first", "good first"])
def good_first(request: pytest.FixtureRequest) -> bool:
    """Whether the shape is known (traced) before the bad event comes."""
    return bool(request.param == "good first")


def wrong_shapes(draws: np.random.Generator) -> Iterator[tuple[Episode[Array], str]]:
    """Episodes that an MLP 2-3-1 cannot take, and what is said of each."""
    good = arrays(draws)
    (x, y), (qx, qy) = good
    yield arrays(draws, features=3), "x has 3 features an example, the model takes 2"
    yield episode_of(x, y[:, 0], qx, qy), r"y has shape \[4\], the model predicts \[4, 1\]"
    yield episode_of(x, y, qx, qy[:, 0]), r"y has shape \[3\], the model predicts \[3, 1\]"
    yield episode_of(x, np.ones((4, 2)), qx, qy), r"y has shape \[4, 2\], the model predicts \[4, 1\]"
    yield episode_of(x[:, :1], y, qx, qy), "x has 1 feature an example, the model takes 2"
    yield episode_of(x, y, qx[..., None], qy), "x has 1 feature an example, the model takes 2"


def test_wrong_shapes_are_refused_each_time(draws: np.random.Generator) -> None:
    """Features, a y that would broadcast, ranks: shape_mismatch with the shapes, remembered verdicts too."""
    engine = engine_of(network())
    for episode, said in wrong_shapes(draws):
        for _ in range(2):
            refused = refusal(engine, episode)
            assert refused.reason == Reason.SHAPE_MISMATCH
            assert_matches(said, str(refused))
    learn(engine, arrays(draws))
    assert engine.progress.events == 1


def assert_matches(pattern: str, text: str) -> None:
    """Like `pytest.raises(match=…)`; one line, as a dead letter's header."""
    assert re.search(pattern, text), text
    assert "\n" not in text


def test_a_flood_of_wrong_shapes_is_forgotten(
    draws: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verdicts are bounded in number, and right also when they must be found again."""
    monkeypatch.setattr(tracing, "MAX_TRACES", 2)
    engine = engine_of(network())
    for features in (3, 4, 5, 6, 3, 4):
        assert refusal(engine, arrays(draws, features=features)).reason == Reason.SHAPE_MISMATCH
    learn(engine, arrays(draws))


@pytest.mark.parametrize("bad", [3, -1, -100, 2**40])
def test_classes_out_of_range(bad: int, good_first: bool, draws: np.random.Generator) -> None:
    """Bad_tensor names the class, also -100, which PyTorch would skip; the next event is learned."""
    engine = engine_of(classifier())
    good = labelled(draws)
    if good_first:
        learn(engine, good)
    refused = refusal(engine, with_query_y(good, np.array([0, bad, 2])))
    assert refused.reason == Reason.BAD_TENSOR
    assert str(refused) == f"y holds class {bad}; the model knows 0 to 2"
    before = engine.progress.events
    learn(engine, good)
    assert engine.progress.events == before + 1


@pytest.mark.parametrize(
    ("loss", "bad"),
    [(f"{HERE}:probability_loss", 5.0), (f"{HERE}:weighted_embedding_loss", 3.0)],
    ids=["RuntimeError", "IndexError"],
)
def test_a_loss_that_raises_on_certain_values(
    loss: str, bad: float, good_first: bool, draws: np.random.Generator
) -> None:
    """Whatever PyTorch raises at them, the event is set aside and the next of its shape is learned."""
    engine = engine_of(network("streammeta.models:linear", {"inputs": 2}, loss=loss))
    drawn = arrays(draws)
    good = episode_of(drawn.support.x, np.ones((4, 1)), drawn.query.x, np.ones((3, 1)))
    if good_first:
        learn(engine, good)
    refused = refusal(engine, with_query_y(good, np.full((3, 1), bad)))
    assert refused.reason == Reason.BAD_TENSOR
    assert "the model refuses the data: " in str(refused)
    before = engine.progress.events
    learn(engine, good)
    assert engine.progress.events == before + 1


def test_a_token_beyond_the_embedding(good_first: bool, draws: np.random.Generator) -> None:
    """A number that no row of the table has: bad_tensor; the next event is learned."""
    engine = engine_of(network(f"{HERE}:embedded"))
    x = draws.integers(0, 5, size=(7, 2))
    y = draws.normal(size=(7, 1))
    good = episode_of(x[:4], y[:4], x[4:], y[4:])
    if good_first:
        learn(engine, good)
    bad = episode_of(x[:4] + 5, y[:4], x[4:], y[4:])
    assert refusal(engine, bad).reason == Reason.BAD_TENSOR
    learn(engine, good)


def test_half_needs_two_support_examples(draws: np.random.Generator) -> None:
    """What the algorithm refuses is an event's fault too; larger sets are learned."""
    engine = engine_of(network(), "moml-half")
    refused = refusal(engine, arrays(draws, support=1))
    assert refused.reason == Reason.BAD_TENSOR
    assert "needs at least 2 support examples" in str(refused)
    learn(engine, arrays(draws, support=2))


def test_a_model_that_draws_random_numbers_is_a_configuration_error(draws: np.random.Generator) -> None:
    """A recovered run would differ: the generator is named, the remedy too."""
    engine = engine_of(network(f"{HERE}:noisy"))
    with pytest.raises(ConfigError, match=r"draws random numbers from torch.*remove that layer"):
        learn(engine, arrays(draws))


@pytest.mark.parametrize("large", [1.0, 100.0])
def test_a_model_that_branches_on_values_is_a_configuration_error(
    large: float, draws: np.random.Generator
) -> None:
    """One graph cannot hold both ways: told at the first event, whatever its values, with the remedy."""
    engine = engine_of(network(f"{HERE}:Halver"))
    good = arrays(draws)
    with pytest.raises(ConfigError, match=r"(?s)cannot be traced.*torch\.where"):
        learn(engine, episode_of(large * good.support.x, good.support.y, *good.query))


def test_a_fault_of_the_machine_blames_no_event(draws: np.random.Generator) -> None:
    """Out of memory is neither a bad event nor a bad shape: it ends the process, and is not remembered."""
    made = network(f"{HERE}:Bounded")
    engine = engine_of(made)
    for _ in range(2):
        with pytest.raises(StreammetaError, match=r"give it more memory, or lower events\.max_examples"):
            learn(engine, arrays(draws, support=9))
    learn(engine, arrays(draws, support=8))


def test_what_the_cpu_allocator_says_is_a_fault_of_the_machine() -> None:
    """Torch's CPU allocator raises a plain RuntimeError; other ones pass, for the caller to judge."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60)
    with pytest.raises(StreammetaError, match="cannot compute the step"):
        refuse_machine_fault(caught.value)
    refuse_machine_fault(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_code_that_fails_on_any_data_is_a_configuration_error(draws: np.random.Generator) -> None:
    """A loss of one argument is no fault of the event: the stream must not end up in the dead letters."""
    made = network()
    engine = engine_of(replace(made, loss_of=lambda prediction: prediction.sum()))  # type: ignore[arg-type, misc]  # the mistake
    with pytest.raises(ConfigError, match="the code fails on any data"):
        learn(engine, arrays(draws))


def fussy() -> nn.Module:
    """A model whose own code fails on three features."""

    class Fussy(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x + None if x.shape[1] == 3 else x)  # type: ignore[operator]  # the mistake

    return Fussy(2, 1)


def test_code_that_fails_on_one_shape_is_that_records_fault_once_others_were_learned(
    draws: np.random.Generator,
) -> None:
    """Before anything was learned the same error ends the program; later one record must not."""
    engine = engine_of(network(f"{__name__}:fussy"))
    with pytest.raises(ConfigError, match=r"TypeError in test_tracing\.py, line \d+, in forward"):
        learn(engine, arrays(draws, features=3))
    learn(engine, arrays(draws))
    assert refusal(engine, arrays(draws, features=3)).reason == Reason.BAD_TENSOR
    learn(engine, arrays(draws))


def test_a_model_that_learns_of_no_shape_at_start_is_probed_at_the_first_event(
    draws: np.random.Generator,
) -> None:
    """Its first layer tells nothing: what a call leaves behind is still found before anything is learned."""
    engine = engine_of(network("tests.faulty_models:hidden"))
    before = engine.state.params.clone()
    with pytest.raises(ConfigError, match="changes the buffer mean"):
        learn(engine, arrays(draws, features=3))
    assert torch.equal(engine.state.params, before)


def test_a_y_that_pytorch_would_broadcast_is_refused(draws: np.random.Generator) -> None:
    """Losses of PyTorch too, which only warn."""
    engine = engine_of(network(loss="torch.nn:L1Loss"))
    x, y = arrays(draws).support
    refused = refusal(engine, episode_of(x, y[:, 0], x, y[:, 0]))
    assert refused.reason == Reason.SHAPE_MISMATCH
    learn(engine, episode_of(x, y, x, y))


def test_an_update_that_is_not_finite_is_told() -> None:
    """`step` says whether all that would be kept is finite; the losses alone do not decide."""
    made = network(dtype="float32")
    learner = LEARNERS["maml"](made)
    state = learner.init(made.initial)
    episode = stacked(made.tensors(arrays(np.random.default_rng(1))))
    steps = Steps(learner, made)
    settings: Any = (torch.zeros(1, 0), torch.zeros(1), episode)
    assert steps.step(state, *settings).finite
    wild = state._replace(inner_lr=torch.tensor(1e30))
    assert not steps.step(wild, *settings).finite


class InRam(dict[Signature, GraphModule]):
    """Traces that a later process would find."""

    def put(self, signature: Signature, graph: GraphModule) -> None:
        """As `Kept.put`."""
        self[signature] = graph


def test_a_step_that_was_compared_is_kept_and_not_traced_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that is not finite proves nothing; the next process computes the same bits without a trace."""
    kept, made, draws = InRam(), network(), np.random.default_rng(8)
    learner = LEARNERS["moml"](made)
    state, memory = learner.init(made.initial), torch.zeros(1, learner.memory_size, dtype=made.dtype)
    episode, steps = stacked(made.tensors(arrays(draws))), Steps(learner, made, kept=kept)
    broken = episode._replace(query=episode.query._replace(y=episode.query.y * torch.nan))
    steps.step(state, memory, torch.zeros(1, dtype=made.dtype), broken)
    assert not kept
    first = steps.step(state, memory, torch.zeros(1, dtype=made.dtype), episode)
    assert len(kept) == 1
    monkeypatch.setattr(tracing, "trace", None)
    later = Steps(learner, made, kept=kept)
    second = later.step(state, memory, torch.zeros(1, dtype=made.dtype), episode)
    assert same_bits(
        flat(first.state, first.memory, first.info), flat(second.state, second.memory, second.info)
    )
    assert later.shapes == (1, 0)
