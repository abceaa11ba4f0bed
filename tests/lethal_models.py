"""A network that some shapes kill: as the kernel does where memory ends, or with Python's own MemoryError."""

import os
import signal
from pathlib import Path

from torch import Tensor, nn

LETHAL_EXAMPLES = 13
GREEDY_EXAMPLES = 17


class Lethal(nn.Module):
    """A linear layer; code of a forward pass runs when a shape is met first.

    `only_with` is a file: where it is named and absent, nothing kills.
    """

    def __init__(self, only_with: str = "") -> None:
        super().__init__()
        self.only_with = only_with
        self.layer = nn.Linear(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """As a linear layer, but for two numbers of examples."""
        if len(x) == LETHAL_EXAMPLES and (not self.only_with or Path(self.only_with).exists()):
            os.kill(os.getpid(), signal.SIGKILL)
        if len(x) == GREEDY_EXAMPLES:
            raise MemoryError("cannot take 80 GB")
        out: Tensor = self.layer(x)
        return out
