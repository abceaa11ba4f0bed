"""The forms in which a step is compiled: what is said to the compiler before it begins.

Small matrix products are faster as multiply and sum, which the compiler joins with what surrounds them, than
as calls of a library; large ones are not. Which it is for a step is measured.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor
from torch.fx import Graph

Decompositions = Mapping[Any, Callable[..., Tensor]]

SMALL_PRODUCT: Final = 1 << 16
"""Multiplications in a matrix product up to which it is worth trying without the library."""

_aten = torch.ops.aten


def _multiplied(a: Tensor, b: Tensor) -> Any:
    size = a.shape[:-1].numel() * a.shape[-1] * b.shape[-1]
    if size > SMALL_PRODUCT:
        return NotImplemented
    return (a.unsqueeze(-1) * b.unsqueeze(-3)).sum(-2)


def _added(bias: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Any:
    product = _multiplied(a, b)
    if product is NotImplemented:
        return NotImplemented
    scaled = product if alpha == 1 else product * alpha
    return scaled + (bias if beta == 1 else bias * beta)


_PRODUCTS: Decompositions = MappingProxyType(
    {_aten.mm.default: _multiplied, _aten.bmm.default: _multiplied, _aten.addmm.default: _added}
)

FORMS: Final[Mapping[str, Decompositions]] = MappingProxyType({"small": _PRODUCTS, "library": {}})
"""Form -> what replaces which operation."""


def forms_of(graph: Graph) -> tuple[str, ...]:
    """The forms that differ for this graph."""
    has_products = any(node.target in _PRODUCTS for node in graph.nodes)
    return tuple(FORMS) if has_products else ("library",)
