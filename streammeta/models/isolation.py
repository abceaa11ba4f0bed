"""The user's code at work: it may neither end the program nor leave switches of the process turned."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def kept_running() -> Iterator[None]:
    """An error of the code within instead of the end of the program.

    Raises:
        RuntimeError: the code called `sys.exit`; its traceback is that of the call.
    """
    try:
        yield
    except SystemExit as error:
        told = RuntimeError(f"it would end the program: sys.exit({error.code!r}); raise an error instead")
        raise told.with_traceback(error.__traceback__) from error


@contextmanager
def kept_switches() -> Iterator[None]:
    """Put back how many threads torch has, whether it records gradients, and whether it looks for anomalies.

    The bits of a sum depend on `model.threads`. The default dtype stays as the code sets it: what its
    `forward` makes is of that dtype.
    """
    threads, anomalies = torch.get_num_threads(), torch.is_anomaly_enabled()
    try:
        with torch.set_grad_enabled(torch.is_grad_enabled()):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.autograd.set_detect_anomaly(anomalies)
