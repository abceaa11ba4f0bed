"""Small networks written by hand, in the ways in which users fill tensors and walk over sequences."""

import torch
from torch import Tensor, nn
from torch.nn import functional


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
            masks["attn_mask"] = nn.Transformer.generate_square_subsequent_mask(4, dtype=h.dtype)
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
    shape, kind = (len(h), 3), h.dtype
    match way:
        case "zeros":
            a, b = torch.zeros(shape, dtype=kind), torch.zeros(shape, dtype=kind)
        case "like":
            a, b = torch.zeros_like(h[:, 0]), torch.ones_like(h[:, 0])
        case "clone":
            a, b = h[:, 0].clone(), h[:, 0].clone()
        case "full":
            a, b = torch.full(shape, 0.5, dtype=kind), torch.full(shape, 0.5, dtype=kind)
        case "new":
            a, b = h.new_zeros(shape), h.new_zeros(shape)
        case "empty":
            a, b = torch.empty(shape, dtype=kind), torch.empty(shape, dtype=kind)
            a.fill_(0.25)
            b.zero_()
        case "arange":
            a = torch.arange(3, dtype=kind).repeat(len(h), 1)
            b = torch.arange(3, dtype=kind).repeat(len(h), 1)
        case "tensor":
            a = torch.tensor([0.1, 0.2, 0.3], dtype=kind).expand(shape).clone()
            b = torch.tensor([0.1, 0.2, 0.3], dtype=kind).expand(shape).clone()
        case "view":
            both = torch.zeros(len(h), 6, dtype=kind)
            a, b = both[:, :3], both[:, 3:]
        case "index":
            a, b = torch.zeros(shape, dtype=kind), torch.zeros(shape, dtype=kind)
            a[:, torch.tensor([2, 0])] = h[:, 0, :2]
            b[:, 1] = h[:, 1, 0]
        case "copy":
            a, b = torch.zeros(shape, dtype=kind), torch.zeros(shape, dtype=kind)
            a.copy_(h[:, 0])
            b[:, :2].copy_(h[:, 1, 1:])
        case "masked":
            a, b = h[:, 0].clone(), h[:, 0].clone()
            a.masked_fill_(a > 0, 0.5)
            b[b < 0] = 0.1
        case "out":
            a, b = torch.zeros(shape, dtype=kind), torch.zeros(shape, dtype=kind)
            a, b = a + h[:, 0].detach(), b
            a.cumsum_(1)
        case "scatter":
            a, b = torch.zeros(shape, dtype=kind), torch.zeros(shape, dtype=kind)
            a.scatter_add_(1, torch.tensor([[0, 0, 1]]).expand(len(h), -1), h[:, 0])
            b.index_add_(1, torch.tensor([2, 2, 0]), h[:, 1])
        case "list":
            states = [torch.zeros(shape, dtype=kind) for _ in range(2)]
            states[0] += h[:, 0]
            a, b = states
        case "detached":
            with torch.no_grad():
                a = functional.normalize(h[:, 0], dim=1).clone()
            b = h[:, 0].detach().clone()
    for t in range(h.shape[1]):
        a += h[:, t]
        b += 0.1 * h[:, t]
    return a, b


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
