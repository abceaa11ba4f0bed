"""Small networks written by hand, in the ways in which users fill tensors and walk over sequences."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

Pair = tuple[Tensor, Tensor]


class Calls(nn.Module):
    """One affine map between an input map and an output map, and something of the user between them."""

    def __init__(self, inputs: int, outputs: int = 1, inner: nn.Module | None = None, width: int = 4) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(inputs, width), nn.Linear(width, outputs)
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """The middle is a subclass's."""
        prediction: Tensor = self.out(self.middle(torch.tanh(self.into(x))))
        return prediction

    def middle(self, h: Tensor) -> Tensor:
        """(n, …, width) -> (n, width)."""
        assert self.inner is not None
        mixed: Tensor = self.inner(h)
        return mixed.mean(1) if mixed.dim() == 3 else mixed


class Attends(Calls):
    """Multi-head attention."""

    def __init__(self, *, weights: bool = False, first: bool = True, mask: str = "") -> None:
        super().__init__(2, inner=nn.MultiheadAttention(4, 2, batch_first=first))
        self.weights, self.first, self.mask = weights, first, mask

    def middle(self, h: Tensor) -> Tensor:
        """Self-attention; where asked for, its weights count too."""
        h = h if self.first else h.transpose(0, 1)
        assert self.inner is not None
        masks = {}
        if self.mask == "causal":
            masks["attn_mask"] = nn.Transformer.generate_square_subsequent_mask(h.shape[1], dtype=h.dtype)
        if self.mask == "padding":
            padding = torch.zeros(h.shape[:2], dtype=torch.bool)
            padding[:, -1] = True
            masks["key_padding_mask"] = padding
        mixed, weights = self.inner(h, h, h, need_weights=self.weights, **masks)
        mixed = (mixed if self.first else mixed.transpose(0, 1)).mean(1)
        weighted: Tensor = mixed * weights.amax((1, 2))[:, None] if self.weights else mixed
        return weighted


class Scaled(Calls):
    """`scaled_dot_product_attention` by itself."""

    def __init__(self, *, heads: bool = False, causal: bool = False) -> None:
        super().__init__(2)
        self.heads, self.causal = heads, causal

    def middle(self, h: Tensor) -> Tensor:
        """Of (n, length, 4), or of (n, 2 heads, length, 2)."""
        parts = h.reshape(len(h), -1, 2, 2).transpose(1, 2) if self.heads else h
        mixed = functional.scaled_dot_product_attention(parts, parts, parts, is_causal=self.causal)
        return (mixed.transpose(1, 2).flatten(2) if self.heads else mixed).mean(1)


class Recurs(nn.Module):
    """A recurrent layer, of which the last output is read."""

    def __init__(self, kind: str, **settings: object) -> None:
        super().__init__()
        self.memory = getattr(nn, kind)(2, 3, batch_first=True, **settings)
        width = 3 * (2 if settings.get("bidirectional") else 1)
        self.out = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, length, 2) -> (n, 1)."""
        prediction: Tensor = self.out(self.memory(x)[0][:, -1])
        return prediction


class Cell(nn.Module):
    """A recurrent cell, called by hand."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.cell, self.out = getattr(nn, kind)(2, 3), nn.Linear(3, 1)
        self.pair = kind == "LSTMCell"

    def forward(self, x: Tensor) -> Tensor:
        """(n, length, 2) -> (n, 1)."""
        state = None
        for step in x.unbind(1):
            state = self.cell(step, state)
        assert state is not None
        prediction: Tensor = self.out(state[0] if self.pair else state)
        return prediction


class Fills(nn.Module):
    """Two states that are made and then written in place, by one of many ways."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(2, 3), nn.Linear(6, 1)
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        """(n, length, 2) -> (n, 1)."""
        fast, slow = fill(self.way, torch.tanh(self.into(x)))
        prediction: Tensor = self.out(torch.cat([fast, slow], 1))
        return prediction


def fill(way: str, h: Tensor) -> tuple[Tensor, Tensor]:
    """Two different tensors (n, 3) from (n, length, 3)."""
    a, b = {**MADE, **WRITTEN}[way](h)
    for t in range(h.shape[1]):
        a += h[:, t]
        b += 0.1 * h[:, t]
    return a, b


def twice(make: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Pair]:
    """Two tensors that are made alike."""
    return lambda h: (make(h), make(h))


def zeros(h: Tensor) -> Tensor:
    """A row of zeros an example."""
    return torch.zeros((len(h), 3), dtype=h.dtype)


def emptied(h: Tensor) -> Pair:
    """Uninitialised tensors, then filled."""
    a, b = (torch.empty((len(h), 3), dtype=h.dtype) for _ in range(2))
    return a.fill_(0.25), b.zero_()


def viewed(h: Tensor) -> Pair:
    """Two views of one tensor."""
    both = torch.cat([h[:, 0], h[:, 1]], 1)
    return both[:, :3], both[:, 3:]


MADE: dict[str, Callable[[Tensor], Pair]] = {
    "zeros": twice(zeros),
    "like": lambda h: (torch.zeros_like(h[:, 0]), torch.ones_like(h[:, 0])),
    "clone": twice(lambda h: h[:, 0].clone()),
    "full": twice(lambda h: torch.full((len(h), 3), 0.5, dtype=h.dtype)),
    "new": twice(lambda h: h.new_zeros(len(h), 3)),
    "empty": emptied,
    "arange": twice(lambda h: torch.arange(3, dtype=h.dtype).repeat(len(h), 1)),
    "tensor": twice(lambda h: torch.tensor([0.1, 0.2, 0.3], dtype=h.dtype).expand(len(h), 3).clone()),
    "view": viewed,
    "detached": lambda h: (functional.normalize(h[:, 0].detach(), dim=1), h[:, 0].detach().clone()),
}
"""How two tensors are made that are then added to."""


def indexed(h: Tensor) -> Pair:
    """Written by index."""
    a, b = zeros(h), zeros(h)
    a[:, torch.tensor([2, 0])] = h[:, 0, :2]
    b[:, 1] = h[:, 1, 0]
    return a, b


def copied(h: Tensor) -> Pair:
    """Copied into, whole and in part."""
    a, b = zeros(h), zeros(h)
    a.copy_(h[:, 0])
    b[:, :2].copy_(h[:, 1, 1:])
    return a, b


def masked(h: Tensor) -> Pair:
    """Written where a mask is true."""
    a, b = h[:, 0].clone(), h[:, 0].clone()
    a.masked_fill_(a > 0, 0.5)
    b[b < 0] = 0.1
    return a, b


def given(h: Tensor) -> Pair:
    """Results written into tensors by `out=`."""
    a, b = zeros(h), zeros(h)
    with torch.no_grad():
        torch.cumsum(h[:, 0], 1, out=a)
        torch.mul(h[:, 0], 2.0, out=b)
    return a, b


def summed(h: Tensor) -> Pair:
    """Sums along an axis, in place."""
    a, b = h[:, 0].clone(), zeros(h)
    a.cumsum_(1)
    b.addcmul_(h[:, 0], h[:, 1])
    return a, b


def scattered(h: Tensor) -> Pair:
    """Scattered over columns."""
    a, b = zeros(h), zeros(h)
    a.scatter_add_(1, torch.tensor([[0, 0, 1]]).expand(len(h), -1), h[:, 0])
    b.index_add_(1, torch.tensor([2, 2, 0]), h[:, 1])
    return a, b


def listed(h: Tensor) -> Pair:
    """Held in a list."""
    states = [zeros(h) for _ in range(2)]
    states[0] += h[:, 0]
    return states[0], states[1]


WRITTEN: dict[str, Callable[[Tensor], Pair]] = {
    "index": indexed,
    "copy": copied,
    "masked": masked,
    "out": given,
    "sums": summed,
    "scatter": scattered,
    "list": listed,
}
"""Ways of writing in place."""


class Between(Calls):
    """A function of the user between two layers."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__(3)
        self.function = function

    def middle(self, h: Tensor) -> Tensor:
        """(n, 4) -> (n, 4)."""
        return self.function(h)


class Slopes(nn.Module):
    """A network that also tells its own derivative by its input, as those of differential equations do."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3) -> (n, 1)."""
        slopes = torch.func.grad(lambda at: self.net(at).sum())(x)
        prediction: Tensor = self.net(x) + slopes.sum(1, keepdim=True)
        return prediction


def by_frequency(h: Tensor) -> Tensor:
    """Through complex numbers and back."""
    waves = torch.fft.rfft(h, dim=1)
    back: Tensor = torch.fft.irfft(waves * torch.exp(1j * waves.abs()), n=4, dim=1)
    return back


def solved(h: Tensor) -> Tensor:
    """A linear system of the hidden numbers."""
    matrix = 3 * torch.eye(4, dtype=h.dtype) + h.T @ h
    solution: Tensor = torch.linalg.solve(matrix, h.T).T
    return solution


def picked(h: Tensor) -> Tensor:
    """Sorted, and weighed by the largest."""
    return h.sort(1).values * h.gather(1, h.argmax(1, keepdim=True))


def by_index(h: Tensor) -> Tensor:
    """Products over named axes, of each example alone."""
    products: Tensor = torch.func.vmap(lambda row: torch.einsum("i,j,j->i", row, row, row))(h)
    return products


class Tokens(nn.Module):
    """Embedded token numbers."""

    def __init__(self, table: nn.Module, outputs: int = 3) -> None:
        super().__init__()
        self.table, self.out = table, nn.Linear(3, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 5) -> (n, outputs)."""
        embedded: Tensor = self.table(x)
        prediction: Tensor = self.out(torch.tanh(embedded.mean(1) if embedded.dim() == 3 else embedded))
        return prediction


class Tied(nn.Module):
    """Tied weights, a frozen layer and a buffer."""

    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mid, self.head = nn.Embedding(11, 3), nn.Linear(3, 3), nn.Linear(3, 11, bias=False)
        self.head.weight = self.embed.weight
        self.mid.requires_grad_(False)
        self.register_buffer("scale", torch.full((3,), 1.5))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 5) -> (n, 11)."""
        logits: Tensor = self.head(torch.tanh(self.mid(self.embed(x).mean(1) * self.scale)))
        return logits


def rows(*layers: nn.Module, width: int = 6, outputs: int = 1) -> nn.Module:
    """Layers over a hidden row."""
    return nn.Sequential(nn.Linear(3, width), *layers, nn.Linear(width, outputs))


def images(*layers: nn.Module, flat: int, outputs: int = 3) -> nn.Module:
    """Layers over an image, then one affine map."""
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(flat, outputs))
