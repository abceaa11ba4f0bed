"""What travels between server and clients: parameters, the round's number, names and measurements.

Neither data nor a memory has a place in these records.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from streammeta.errors import BadEvent, Reason

if TYPE_CHECKING:
    from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict

PARAMS: Final = "params"
ROUND: Final = "round"
MEASURED: Final = "measured"
WHO: Final = "who"

MEASURES: Final = (
    *("loss_meta", "loss_adapted", "loss_memory", "tracking_error"),
    *("accuracy_meta", "accuracy_adapted", "accuracy_memory"),
    *("gradient_norm", "seconds"),
)
"""What a client tells of its round; NaN where there is nothing to tell."""


class Name(NamedTuple):
    """How a client answers who it is."""

    name: str
    trains: bool


def call_of(params: Tensor, number: int) -> "RecordDict":
    """What the server sends: w (d,), and the number of the round."""
    from flwr.app import ConfigRecord, RecordDict

    return RecordDict({PARAMS: _arrays(params), ROUND: ConfigRecord({"number": number})})


def read_call(message: "Message") -> tuple[Tensor, int]:
    """What the server sent: w, and the number of the round."""
    content = message.content
    return _tensor(content), int(str(content.config_records[ROUND]["number"]))


def answer_of(params: Tensor, measured: Mapping[str, float]) -> "RecordDict":
    """What a client returns: w_i (d,), and what it measured."""
    from flwr.app import RecordDict

    return RecordDict({PARAMS: _arrays(params), MEASURED: _measures(measured)})


def measured_of(measured: Mapping[str, float]) -> "RecordDict":
    """What a client returns that was tested: measurements alone."""
    from flwr.app import RecordDict

    return RecordDict({MEASURED: _measures(measured)})


def name_of(name: Name) -> "RecordDict":
    """Who a client is."""
    from flwr.app import ConfigRecord, RecordDict

    return RecordDict({WHO: ConfigRecord(name._asdict())})


def read_name(message: "Message") -> Name:
    """Who answered.

    Raises:
        BadEvent: the answer says nothing of it.
    """
    record = message.content.config_records.get(WHO)
    name = None if record is None else record.get("name")
    if record is None or not isinstance(name, str) or not name:
        raise BadEvent(Reason.UNDECODABLE, "the answer holds no name")
    return Name(name, bool(record.get("trains", True)))


def read_measured(message: "Message") -> dict[str, float]:
    """What a client measured; NaN for what it does not tell.

    Raises:
        BadEvent: it tells no numbers.
    """
    record = message.content.metric_records.get(MEASURED)
    if record is None:
        raise BadEvent(Reason.UNDECODABLE, f"the answer holds no record {MEASURED!r}")
    return {name: float(value) for name, value in record.items() if isinstance(value, int | float)}


def read_params(message: "Message", like: Tensor) -> Tensor:
    """w_i (d,) of a client.

    Raises:
        BadEvent: it is not of the shape and the numbers of `like`, or not finite.
    """
    try:
        params = _tensor(message.content)
    except (KeyError, ValueError, TypeError) as error:
        raise BadEvent(Reason.UNDECODABLE, f"the answer holds no parameters ({error!r})") from error
    if params.shape != like.shape or params.dtype != like.dtype:
        raise BadEvent(
            Reason.SHAPE_MISMATCH,
            f"the answer's parameters are {params.dtype} {[*params.shape]}, the server's {like.dtype} "
            f"{[*like.shape]}",
        )
    if not bool(torch.isfinite(params).all()):
        raise BadEvent(Reason.NON_FINITE_UPDATE, "the answer's parameters hold NaN or infinity")
    return params.to(like.device)


def bytes_of(content: "RecordDict") -> int:
    """Bytes of the arrays within: what a message costs, but for some hundred bytes."""
    return sum(len(array.data) for record in content.array_records.values() for array in record.values())


def _measures(measured: Mapping[str, float]) -> "MetricRecord":
    from flwr.app import MetricRecord

    return MetricRecord({name: float(measured.get(name, math.nan)) for name in MEASURES})


def _arrays(params: Tensor) -> "ArrayRecord":
    from flwr.app import Array, ArrayRecord

    return ArrayRecord({PARAMS: Array(np.ascontiguousarray(params.detach().cpu().numpy()))})


def _tensor(content: "RecordDict") -> Tensor:
    return torch.from_numpy(content.array_records[PARAMS][PARAMS].numpy().copy())
