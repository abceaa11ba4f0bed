"""What no graph may hold is refused in words, at the user's line; writes in place become plain operations."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from streammeta.errors import ConfigError
from streammeta.learner.graphs import FlatStep, attempt, trace

Code = Callable[[Tensor, Tensor], Tensor]
"""Of parameters (3,) and x (4, 3)."""

W, X = torch.tensor([0.5, -1.0, 2.0]), torch.arange(12.0).view(4, 3) - 5
KEPT = torch.zeros(3)


def differentiated(code: Code) -> FlatStep:
    """A step as the learners make it: the gradient of the user's code."""
    return lambda w, x: [torch.func.grad(lambda at: code(at, x).sum())(w)]


def writes_to_buffer(w: Tensor, x: Tensor) -> Tensor:
    """Counts its calls in a tensor of its own."""
    KEPT.add_(1)
    return w * x + KEPT


def writes_to_x(w: Tensor, x: Tensor) -> Tensor:
    """Shifts what it was given."""
    x[0] = 1
    return w * x


BY_VALUES: dict[str, Code] = {
    "item": lambda w, x: w * x.sum().item(),
    "float": lambda w, x: w * float(x.sum()),
    "if": lambda w, x: w * x if x.sum() > 0 else w,
    "if the prediction": lambda w, x: w * x if (w * x).sum() > 0 else w,
    "if all close": lambda w, x: w if torch.allclose(x, x * 2) else w * x,
    "slice": lambda w, x: (w * x)[: int((x > 0).sum())],
    "loop": lambda w, x: w * x * len(range(int(x.abs().sum()))),
    "numpy": lambda w, x: w * torch.from_numpy(x.numpy()),
    "tolist": lambda w, x: (w * x)[x[:, 0].argsort().tolist()],
    "a new tensor": lambda w, x: w * torch.tensor([x.sum(), 1.0, 2.0]),
}
BY_SHAPES: dict[str, Code] = {
    "mask": lambda w, x: (w * x)[x > 0],
    "nonzero": lambda w, x: (w * x)[x[:, 0].nonzero()[:, 0]],
    "where": lambda w, x: (w * x)[torch.where(x > 0)],
    "masked select": lambda w, x: (w * x).masked_select(x > 0),
    "unique": lambda w, x: w * x.unique().sum(),  # type: ignore[no-untyped-call]  # PyTorch's own
    "the number of them alone": lambda w, x: w * x.unique().numel(),  # type: ignore[no-untyped-call]  # PyTorch's own
    "repeat": lambda w, x: (w * x).repeat_interleave((x[:, 0] > 0).long(), 0),
    "bins": lambda w, x: w.sum() * torch.bincount((x > 0).long().flatten()),
}
RANDOM: dict[str, Code] = {
    "dropout": lambda w, x: functional.dropout(w * x, 0.5),
    "alpha dropout": lambda w, x: functional.alpha_dropout(w * x, 0.5, training=True),
    "attention": lambda w, x: functional.scaled_dot_product_attention(
        (w * x)[None], x[None], x[None], dropout_p=0.3
    ),
    "lstm": lambda w, x: nn.LSTM(3, 3, 2, dropout=0.5, batch_first=True)((w * x)[None])[0],
    "noise": lambda w, x: w * torch.rand_like(x),
    "noise in place": lambda w, x: w * x.clone().normal_(),
    "order": lambda w, x: (w * x)[torch.randperm(4)][:2],
}


@pytest.mark.parametrize("name", BY_VALUES)
def test_values_may_not_be_taken_out_of_tensors(name: str) -> None:
    """Each way is refused at its line, with the remedy."""
    with pytest.raises(ConfigError, match=r"(?s)cannot be traced \(test_graphs\.py, line \d+.*torch\.where"):
        trace(differentiated(BY_VALUES[name]), [W, X])


@pytest.mark.parametrize("name", BY_SHAPES)
def test_shapes_may_not_depend_on_values(name: str) -> None:
    """Also where the code looks at the shape alone, which leaves no other trace in the graph."""
    with pytest.raises(
        ConfigError, match=r"(?s)the shape of what aten\.\w+.* depends on values.*torch\.where"
    ):
        trace(differentiated(BY_SHAPES[name]), [W, X])


@pytest.mark.parametrize("name", RANDOM)
def test_random_numbers_are_refused(name: str) -> None:
    """Also those that an operation of many draws inside."""
    with pytest.raises(ConfigError, match=r"draws random numbers \(aten\.\w+.*dropout: p=0"):
        trace(differentiated(RANDOM[name]), [W, X])


def test_an_operation_that_draws_nothing_is_no_dropout() -> None:
    """Judged by its argument: p = 0 is the plain step."""
    codes: list[Code] = [
        lambda w, x: functional.dropout(w * x, 0.0),
        lambda w, x: functional.scaled_dot_product_attention((w * x)[None], x[None], x[None]),
    ]
    for code in codes:
        step = differentiated(code)
        torch.testing.assert_close(trace(step, [W, X])(W, X + 1), step(W, X + 1))


@pytest.mark.parametrize("code", [writes_to_buffer, writes_to_x])
def test_a_write_that_outlives_the_call_is_refused(code: Code) -> None:
    """In the words of the user, at their line."""
    with pytest.raises(
        ConfigError, match=rf"in {code.__name__}\): it writes in place into a tensor that outl"
    ):
        trace(differentiated(code), [W, X.clone()])


def test_a_write_outside_of_all_derivatives_is_refused_too() -> None:
    """Where nothing is differentiated, the write is found in the graph, or by its maker."""
    for step in (lambda w, x: [writes_to_buffer(w, x)], lambda w, x: [writes_to_x(w, x)]):
        with pytest.raises(ConfigError, match="into a tensor that outlives the call"):
            trace(step, [W, X.clone()])


def test_two_fresh_tensors_written_in_place_stay_two() -> None:
    """Equal operations are computed once, but not two tensors that part ways."""

    def fills(w: Tensor, x: Tensor) -> Tensor:
        one, other = torch.zeros(4, 3), torch.zeros(4, 3)
        one += w * x
        other += (w * x) ** 2
        return one - 3 * other

    step = differentiated(fills)
    found = trace(step, [W, torch.zeros(4, 3)])(W, X)
    torch.testing.assert_close(found, step(W, X))
    torch.testing.assert_close(found[0], (X - 6 * W * X**2).sum(0))


class Square(torch.autograd.Function):
    """An operation of the user's in the old style."""

    @staticmethod
    def forward(ctx, x):  # type: ignore[no-untyped-def]  # PyTorch types no context
        """x²."""
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]  # PyTorch types no context
        """2x."""
        return 2 * ctx.saved_tensors[0] * gradient


def slope(w: Tensor, x: Tensor) -> Tensor:
    """The derivative of tanh(wx) by x, by autograd."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad(torch.tanh(w * x).sum(), x, create_graph=True)[0]


REMEDIES: dict[str, tuple[Code, str]] = {
    "requires_grad_": (slope, r"torch\.func\.grad"),
    "autograd's Jacobian": (
        lambda w, x: w * torch.autograd.functional.jacobian(lambda r: r.sum(), x),  # type: ignore[no-untyped-call]  # PyTorch's own
        r"torch\.func\.grad",
    ),
    "checkpoint": (
        lambda w, x: checkpoint(torch.tanh, w * x, use_reentrant=False),
        r"without torch\.utils\.checkpoint",
    ),
    "autograd.Function": (lambda w, x: Square.apply(w * x), "setup_context"),  # type: ignore[no-untyped-call]  # PyTorch's own
}


@pytest.mark.parametrize("name", REMEDIES)
def test_what_no_step_can_hold_is_refused_with_the_remedy(name: str) -> None:
    """Alone and among several tasks it is the model's fault, never the event's."""
    code, remedy = REMEDIES[name]
    step = differentiated(code)
    for found_out in (trace, attempt):
        with pytest.raises(ConfigError, match=rf"(?s)fails on any data \(test_graphs\.py.*{remedy}"):
            found_out(step, [W, X])


def test_a_missing_second_derivative_names_the_order() -> None:
    """PyTorch has none of the distance between points."""

    def twice(w: Tensor, x: Tensor) -> list[Tensor]:
        def gradient(at: Tensor) -> Tensor:
            total: Tensor = torch.func.grad(lambda at: torch.cdist(at * x, x + 1).sum())(at).sum()
            return total

        return [torch.func.grad(gradient)(w)]

    with pytest.raises(ConfigError, match=r'algorithm\.order = "first"'):
        trace(twice, [W, X])


def test_derivatives_by_torch_func_are_learned_from() -> None:
    """The remedy works: tanh' = 1 - tanh²."""

    def remedied(w: Tensor, x: Tensor) -> Tensor:
        slopes: Tensor = torch.func.grad(lambda at: torch.tanh(w * at).sum())(x)
        return slopes

    def by_hand(w: Tensor, x: Tensor) -> Tensor:
        return w * (1 - torch.tanh(w * x) ** 2)

    x = X / 5
    torch.testing.assert_close(trace(differentiated(remedied), [W, x])(W, x), differentiated(by_hand)(W, x))
