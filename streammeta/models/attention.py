"""Attention as plain operations: fused kernels have no second derivative, or none at all."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def plain_attention() -> Iterator[None]:
    """Compute attention within by matrix products and softmax alone.

    Fused `scaled_dot_product_attention` cannot be differentiated twice; the fast path of attention layers in
    evaluation mode cannot be differentiated at all.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
