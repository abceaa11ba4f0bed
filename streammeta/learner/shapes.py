"""Which shapes of examples the model can take: tried on zeros once, the verdict remembered."""

from typing import Final, SupportsInt, TypeVar

import torch
from torch import Tensor

from streammeta.errors import BadEvent, CodeFault, Reason, StreammetaError
from streammeta.learner.flat import Signature
from streammeta.learner.graphs import refuse_machine_fault
from streammeta.models.faults import told
from streammeta.models.network import Network
from streammeta.models.probe import refuse_changes
from streammeta.models.shape_words import shape_words
from streammeta.models.trial import advice, is_code_fault, try_model

MAX_VERDICTS: Final = 64
"""Verdicts of either kind that are remembered, so a flood of odd events costs little."""

Verdict = TypeVar("Verdict", int, str, bool)


class Verdicts:
    """What the model said of shapes."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._fits: dict[Signature, int] = {}
        self._refused: dict[Signature, str] = {}
        self._probed = False

    def classes(self, signature: Signature, params: Tensor) -> int:
        """Try the model on zeros of these shapes; the number of its classes, 0 for none.

        Raises:
            BadEvent: it cannot take them.
            CodeFault: its code, or the loss's, fails on any data.
        """
        if signature in self._fits:
            return self._fits[signature]
        if signature not in self._refused:
            try:
                classes = max(self._try(params, signature[at : at + 2]) for at in (0, 2))
            except (StreammetaError, MemoryError):
                raise
            except Exception as error:
                refuse_machine_fault(error)
                if is_code_fault(error):
                    raise CodeFault(f"the code fails on any data: {told(error)}{advice(error)}") from error
                remember(self._refused, signature, self._words(params, signature, error), MAX_VERDICTS)
            else:
                remember(self._fits, signature, classes, MAX_VERDICTS)
                return classes
        reason = f"the model cannot take these shapes: {self._refused[signature]}"
        raise BadEvent(Reason.SHAPE_MISMATCH, reason, stage="step")

    def _words(self, params: Tensor, signature: Signature, error: Exception) -> str:
        """Why the model cannot take it: in the user's words where they are known."""
        for shape, dtype in (signature[0], signature[2]):
            words = shape_words(
                self._network, params, torch.zeros(shape[1:], dtype=dtype, device=params.device)
            )
            if words:
                return words
        return f"{told(error)}{advice(error)}"

    def _try(self, params: Tensor, signature: Signature) -> int:
        x, y = (torch.zeros(shape[1:], dtype=dtype, device=params.device) for shape, dtype in signature)
        classes = try_model(self._network, params, x, y)
        if not self._probed:
            refuse_changes(self._network, params, x, y)
            self._probed = True
        return classes


def remember(verdicts: dict[Signature, Verdict], signature: Signature, verdict: Verdict, limit: int) -> None:
    """Keep the verdict in place of the oldest one."""
    if verdicts and len(verdicts) >= limit:
        del verdicts[next(iter(verdicts))]
    verdicts[signature] = verdict


def check_classes(lowest: SupportsInt, highest: SupportsInt, classes: int) -> None:
    """Class numbers out of range would read past the logits, and on a GPU end the process."""
    low, high = int(lowest), int(highest)
    if low < 0 or high >= classes:
        message = f"y holds class {low if low < 0 else high}; the model knows 0 to {classes - 1}"
        raise BadEvent(Reason.BAD_TENSOR, message, stage="step")
