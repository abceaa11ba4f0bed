"""The table of networks: one line each."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from torch import nn
from torch.nn.utils.parametrizations import orthogonal, weight_norm

from tests.models.zoo import (
    MADE,
    WRITTEN,
    Attends,
    Between,
    Cell,
    Fills,
    Recurs,
    Scaled,
    Slopes,
    Tied,
    Tokens,
    by_frequency,
    by_index,
    images,
    picked,
    rows,
    solved,
)

FAILED_ONCE = Path(__file__).parents[3] / "shared" / "cases" / "models.py"
"""Networks that were learned wrongly once; not part of the distribution."""


class Case(NamedTuple):
    """A network, its inputs (a key of `INPUTS`) and its loss."""

    build: Callable[[], nn.Module]
    inputs: str
    loss: str = "mse"
    outputs: int = 1


INPUTS: dict[str, tuple[int, ...]] = {
    "row": (3,),
    "sequence": (3, 2),
    "line": (2, 6),
    "image": (1, 6, 6),
    "volume": (1, 3, 3, 3),
    "tokens": (5,),
}

C, H, B = "cross_entropy", "huber", "bce"


def _encoder(*, first: bool) -> nn.Module:
    layer = nn.TransformerEncoderLayer(4, 2, 5, dropout=0.0, batch_first=True, norm_first=first)
    return nn.Sequential(nn.Linear(2, 4), layer, nn.Flatten(), nn.Linear(12, 1))


def _decoder() -> nn.Module:
    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.into, self.out = nn.Linear(2, 4), nn.Linear(4, 1)
            self.mix = nn.TransformerDecoderLayer(4, 2, 5, dropout=0.0, batch_first=True)

        def forward(self, x):  # type: ignore[no-untyped-def]
            h = self.into(x)
            return self.out(self.mix(h, h).mean(1))

    return Decoder()


CASES: dict[str, Case] = {
    "linear": Case(lambda: nn.Linear(3, 1), "row"),
    "relu": Case(lambda: rows(nn.ReLU()), "row", H),
    "gelu": Case(lambda: rows(nn.GELU()), "row"),
    "softplus": Case(lambda: rows(nn.Softplus()), "row", B),
    "silu": Case(lambda: rows(nn.SiLU()), "row"),
    "elu": Case(lambda: rows(nn.ELU(inplace=True)), "row"),
    "leaky": Case(lambda: rows(nn.LeakyReLU(inplace=True)), "row"),
    "prelu": Case(lambda: rows(nn.PReLU(6)), "row", H),
    "glu": Case(lambda: nn.Sequential(nn.Linear(3, 8), nn.GLU(), nn.Linear(4, 1)), "row"),
    "softmax": Case(lambda: rows(nn.Softmax(1), outputs=3), "row", C, 3),
    "no-dropout": Case(lambda: rows(nn.Dropout(0.0), nn.Tanh()), "row"),
    "layer-norm": Case(lambda: rows(nn.LayerNorm(6), nn.Tanh()), "row"),
    "rms-norm": Case(lambda: rows(nn.RMSNorm(6), nn.Tanh()), "row"),
    "group-norm": Case(lambda: rows(nn.GroupNorm(2, 6), nn.Tanh(), outputs=3), "row", C, 3),
    "batch-norm": Case(lambda: rows(nn.BatchNorm1d(6, track_running_stats=False), nn.Tanh()), "row"),
    "weight-norm": Case(
        lambda: nn.Sequential(weight_norm(nn.Linear(3, 4)), nn.Tanh(), nn.Linear(4, 1)), "row"
    ),
    "conv1d": Case(lambda: images(nn.Conv1d(2, 3, 3), nn.Tanh(), flat=12), "line", C, 3),
    "conv1d-transposed": Case(lambda: images(nn.ConvTranspose1d(2, 2, 3), nn.Tanh(), flat=16), "line", C, 3),
    "conv2d": Case(lambda: images(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), flat=8), "image", C, 3),
    "conv2d-average": Case(
        lambda: images(nn.Conv2d(1, 2, 3), nn.ELU(), nn.AvgPool2d(2), flat=8), "image", C, 3
    ),
    "conv2d-adaptive": Case(
        lambda: images(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), flat=2), "image", C, 3
    ),
    "conv2d-transposed": Case(lambda: images(nn.ConvTranspose2d(1, 1, 2), nn.Tanh(), flat=49), "image", C, 3),
    "embedding": Case(lambda: Tokens(nn.Embedding(11, 3)), "tokens", C, 3),
    "embedding-padding": Case(lambda: Tokens(nn.Embedding(11, 3, padding_idx=0)), "tokens", C, 3),
    "embedding-bag": Case(lambda: Tokens(nn.EmbeddingBag(11, 3, mode="mean")), "tokens", C, 3),
    "tied": Case(Tied, "tokens", C, 11),
    "attention": Case(Attends, "sequence"),
    "attention-weights": Case(lambda: Attends(weights=True), "sequence"),
    "attention-sequence-first": Case(lambda: Attends(first=False), "sequence", H),
    "attention-causal": Case(lambda: Attends(mask="causal"), "sequence"),
    "attention-padding": Case(lambda: Attends(mask="padding"), "sequence"),
    "attention-eval": Case(lambda: Attends().eval(), "sequence"),
    "encoder": Case(lambda: _encoder(first=False), "sequence"),
    "encoder-norm-first": Case(lambda: _encoder(first=True), "sequence"),
    "encoder-eval": Case(lambda: _encoder(first=False).eval(), "sequence"),
    "decoder": Case(_decoder, "sequence"),
    "scaled-3d": Case(Scaled, "sequence"),
    "scaled-4d": Case(lambda: Scaled(heads=True), "sequence"),
    "scaled-causal": Case(lambda: Scaled(heads=True, causal=True), "sequence"),
    "lstm": Case(lambda: Recurs("LSTM"), "sequence"),
    "lstm-two-ways": Case(lambda: Recurs("LSTM", bidirectional=True), "sequence"),
    "gru": Case(lambda: Recurs("GRU"), "sequence", H),
    "rnn": Case(lambda: Recurs("RNN"), "sequence"),
    "rnn-relu": Case(lambda: Recurs("RNN", nonlinearity="relu"), "sequence"),
    "lstm-cell": Case(lambda: Cell("LSTMCell"), "sequence"),
    "gru-cell": Case(lambda: Cell("GRUCell"), "sequence"),
    "lstm-two-layers": Case(lambda: Recurs("LSTM", num_layers=2), "sequence"),
    "slopes": Case(Slopes, "row"),
    "frequencies": Case(lambda: Between(by_frequency), "row"),
    "solved": Case(lambda: Between(solved), "row"),
    "picked": Case(lambda: Between(picked), "row"),
    "einsum": Case(lambda: Between(by_index), "row"),
    "orthogonal": Case(
        lambda: nn.Sequential(nn.Linear(3, 4), orthogonal(nn.Linear(4, 4)), nn.Linear(4, 1)), "row"
    ),
    "conv3d": Case(lambda: images(nn.Conv3d(1, 2, 2), nn.Tanh(), flat=16), "volume", C, 3),
    "instance-norm": Case(lambda: images(nn.Conv2d(1, 2, 3), nn.InstanceNorm2d(2), flat=32), "image", C, 3),
    "upsample": Case(lambda: images(nn.Upsample(scale_factor=2, mode="bilinear"), flat=144), "image", C, 3),
    "conv1d-circular": Case(
        lambda: images(nn.Conv1d(2, 2, 3, padding=1, padding_mode="circular"), flat=12), "line", C, 3
    ),
    **{
        f"fills-{way}": Case(lambda way=way: Fills(way), "sequence")  # type: ignore[misc]  # mypy knows no default of a lambda
        for way in (*MADE, *WRITTEN)
    },
}

ONCE_WRONG = {
    "TwoStates": ("sequence", "mse", 1),
    "Attention": ("sequence", "mse", 1),
    "Recurrent": ("sequence", "mse", 1),
    "Tied": ("tokens", "cross_entropy", 11),
}
"""Networks of `FAILED_ONCE` that are to be learned: inputs, loss, outputs."""


def case_of(name: str) -> Case:
    """A line of the table, or a network of `FAILED_ONCE`."""
    if name in CASES:
        return CASES[name]
    if not FAILED_ONCE.exists():
        pytest.skip("the networks that failed once are not here")
    spec = importlib.util.spec_from_file_location("failed_once", FAILED_ONCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return Case(getattr(module, name), *ONCE_WRONG[name])


def build(name: str) -> nn.Module:
    """The factory that the configuration names."""
    return case_of(name).build()
