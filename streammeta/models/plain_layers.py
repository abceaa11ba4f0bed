"""Attention and recurrent layers as plain operations: fused kernels lack a second derivative, or any."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Final

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

_set_one_dnn: Callable[..., tuple[bool, ...]] = torch.backends.mkldnn.set_flags  # PyTorch leaves it untyped

_SWITCHES: Final = RLock()
"""The switches belong to the process: of two threads that turn them, one would put back what the other had
turned."""


@contextmanager
def plain_layers(module: nn.Module) -> Iterator[None]:
    """Compute attention within by matrix products and softmax alone, and an LSTM by its equations.

    Fused `scaled_dot_product_attention` cannot be differentiated twice; the fast path of attention layers in
    evaluation mode cannot be differentiated at all; nor can oneDNN's LSTM, which is taken in float32, within
    `torch.func`.
    """
    with _SWITCHES, _turned(module):
        yield


@contextmanager
def _turned(module: nn.Module) -> Iterator[None]:
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    # `flags` would set, and warn of, more than this one
    one_dnn = _set_one_dnn()[0]
    if any(isinstance(layer, nn.LSTM) for layer in module.modules()):
        _set_one_dnn(_enabled=False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        _set_one_dnn(_enabled=one_dnn)
        torch.backends.mha.set_fastpath_enabled(fast)
