"""Whether a step that some pass or compiler made computes what the plain step computes."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from streammeta.errors import ConfigError
from streammeta.learner.graphs import NO_VALUES, FlatStep, first_line, refuse_machine_fault
from streammeta.models.user_code import where


class Output(NamedTuple):
    """One output of a flat step.

    Attributes:
        name: What a person calls it.
        before: The place, among the inputs, of the tensor that it replaces; None where it replaces none.
    """

    name: str
    before: int | None = None


def verify(
    plain: FlatStep, candidate: FlatStep, inputs: Sequence[Tensor], outputs: Sequence[Output]
) -> list[Tensor]:
    """What `candidate` gives for these inputs, after it was compared with `plain`.

    Two orders of the same sums differ by rounding. With ε of the dtype, an output may differ by √ε of its
    largest number: √ε (1.5e-8 in float64, 3.5e-4 in float32) lies far above what rounding does to a
    well-posed step and far below any wrong one. What a step moves (parameters, memories) is judged by how far
    it moved, since a wrong step of a small rate is near the right one. Numbers next to nothing may differ by
    64 ε of the largest number in the step: they are what is left of larger ones. NaN equals NaN. Where an
    output of `plain` overflows, nothing can be said of it.

    Costs one step of each. What `plain` raises passes: the data are at fault.

    Raises:
        ConfigError: the first output that differs, by name.
        StreammetaError: the machine is to blame.
    """
    expected = plain(*inputs)
    try:
        found = candidate(*inputs)
    except Exception as error:
        refuse_machine_fault(error)
        raise ConfigError(
            "model.factory, model.loss: the traced step fails where the plain one does not"
            f"{_at(error)}: {type(error).__name__}: {first_line(error)}\n{NO_VALUES}"
        ) from error
    numbers = [t for t in (*inputs, *expected) if t.is_floating_point()]
    largest = max((_largest(tensor) for tensor in numbers), default=0.0)
    for output, one, other in zip(outputs, expected, found, strict=True):
        before = None if output.before is None else inputs[output.before]
        _compare(output.name, one, other, before, largest)
    return found


def _compare(name: str, plain: Tensor, found: Tensor, before: Tensor | None, largest: float) -> None:
    if plain.shape != found.shape:
        raise _differs(name, f"shape {[*found.shape]}, not {[*plain.shape]}")
    if not plain.numel() or not plain.is_floating_point() or plain.isinf().any() or found.isinf().any():
        return
    epsilon = torch.finfo(plain.dtype).eps
    scale = _largest(plain if before is None else plain - before)
    allowed = math.sqrt(epsilon) * scale + 64 * epsilon * largest
    if not torch.equal(plain.isnan(), found.isnan()):
        raise _differs(name, "NaN at other places")
    difference = _largest(plain - found)
    if difference > allowed:
        raise _differs(name, f"off by {difference:.3g} where {scale:.3g} is the largest number")


def _differs(name: str, what: str) -> ConfigError:
    return ConfigError(
        f"model.factory, model.loss: the traced step gives another {name} than the plain one ({what}); what "
        "the model and the loss compute must depend on their arguments and the parameters alone: no "
        "counters, no random numbers, no values taken out of tensors"
    )


def _largest(tensor: Tensor) -> float:
    finite = tensor[tensor.isfinite()]
    return finite.abs().max().item() if finite.numel() else 0.0


def _at(error: Exception) -> str:
    line = where(error)
    return f" ({line})" if line else ""
