"""A flat parameter vector in two parts: the head, which a task learns, and the body, which tasks share."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import compress, groupby
from operator import itemgetter

import torch
from torch import Tensor

from streammeta.errors import ConfigError
from streammeta.models.network import Layout


@dataclass(frozen=True)
class Split:
    """Which stretches of the vector are the head; neighbours differ.

    Attributes:
        sizes: Lengths of the stretches, in order; their sum is d.
        in_head: Whether each belongs to the head.

    >>> split = Split((2, 1, 1), (False, True, False))
    >>> body, head = split.parts(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    >>> body, head, split.join(10 * body, head)
    (tensor([1., 2., 4.]), tensor([3.]), tensor([10., 20.,  3., 40.]))
    """

    sizes: tuple[int, ...]
    in_head: tuple[bool, ...]

    @property
    def head_size(self) -> int:
        """q, how many numbers the head has."""
        return sum(compress(self.sizes, self.in_head))

    def parts(self, flat: Tensor) -> tuple[Tensor, Tensor]:
        """Body (p,) and head (q,) of a vector (p + q,)."""
        pieces = torch.split(flat, list(self.sizes))
        in_body = [not chosen for chosen in self.in_head]
        return torch.cat(list(compress(pieces, in_body))), torch.cat(list(compress(pieces, self.in_head)))

    def join(self, body: Tensor, head: Tensor) -> Tensor:
        """The vector (p + q,) whose `parts` are these."""
        in_body = [not chosen for chosen in self.in_head]
        bodies = iter(torch.split(body, list(compress(self.sizes, in_body))))
        heads = iter(torch.split(head, list(compress(self.sizes, self.in_head))))
        return torch.cat([next(heads) if chosen else next(bodies) for chosen in self.in_head])


def head_split(layout: Layout, pattern: str | None = None) -> Split:
    """The split whose head are the parameters with names like `pattern`.

    Args:
        layout: Names and shapes of the parameters.
        pattern: With * and ?, as for file names ("3.*"); None takes the parameters of the last module.

    Raises:
        ConfigError: no parameter is in the head, or none outside.

    >>> from streammeta.models.network import Parameter
    >>> layout = (Parameter("0.weight", (2, 3)), Parameter("2.weight", (1, 2)), Parameter("2.bias", (1,)))
    >>> head_split(layout)
    Split(sizes=(6, 3), in_head=(False, True))
    """
    names = [parameter.name for parameter in layout]
    pattern = pattern or _last_module(names)
    chosen = [fnmatchcase(name, pattern) for name in names]
    if not any(chosen) or all(chosen):
        raise ConfigError(
            f'algorithm.head = "{pattern}": {"every" if any(chosen) else "no"} parameter has such a name; '
            f"choose some, not all, of {', '.join(names)}"
        )
    runs = [
        (sum(parameter.size for parameter, _ in run), in_head)
        for in_head, run in groupby(zip(layout, chosen, strict=True), key=itemgetter(1))
    ]
    return Split(tuple(size for size, _ in runs), tuple(in_head for _, in_head in runs))


def _last_module(names: Sequence[str]) -> str:
    module, dot, _ = names[-1].rpartition(".")
    return f"{module}{dot}*" if dot else names[-1]
