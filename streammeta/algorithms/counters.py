"""Counts in a task's memory row, whose dtype may be float32: one number there is exact up to 2²⁴ only."""

from typing import Final

import torch
from torch import Tensor

TICKS: Final = 2**20
"""A count is kept as two numbers, its quotient and remainder by this: exact in float32 up to 2⁴⁴."""


def as_pair(count: Tensor, dtype: torch.dtype) -> Tensor:
    """An integer of shape () as two numbers of `dtype`, shape (2,).

    >>> as_pair(torch.tensor(2**24 + 1), torch.float32)
    tensor([16.,  1.])
    """
    return torch.stack([count // TICKS, count % TICKS]).to(dtype)


def of_pair(pair: Tensor) -> Tensor:
    """The integer, shape (), that `as_pair` wrote.

    >>> of_pair(torch.tensor([16.0, 1.0]))
    tensor(16777217)
    """
    whole = pair.to(torch.int64)
    return TICKS * whole[0] + whole[1]
