"""Bytes of tensors alive at once while a function runs: counted, not sampled, so the same every time."""

import gc
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types here
    """Counts the storages that operations return, from their making to their last reference.

    Attributes:
        peak: The most bytes that were alive after any operation.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self.peak = 0
        self._alive: dict[StorageWeakRef, int] = {}

    def __torch_dispatch__(
        self,
        func: Any,
        _types: Sequence[Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the operation, then count."""
        result = func(*args, **(kwargs or {}))
        for leaf in _pytree.tree_leaves(result):
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                self._alive[StorageWeakRef(storage)] = storage.nbytes()  # type: ignore[no-untyped-call]  # likewise
        self._alive = {
            storage: size
            for storage, size in self._alive.items()
            if not storage.expired()  # type: ignore[no-untyped-call]  # likewise
        }
        self.peak = max(self.peak, sum(self._alive.values()))
        return result


def peak_bytes(function: Callable[[], Any]) -> int:
    """The most bytes of tensors that `function` made, or looked at parts of, that were alive at once."""
    gc.collect()
    counter = LiveBytes()
    with counter:
        function()
    return counter.peak
