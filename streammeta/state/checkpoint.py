"""The meta state as bytes and back: tensors in safetensors, all else in one JSON document. No pickle.

The document carries a format version and the settings that the state was made with. A state that does not
fit the configuration is refused with each difference named.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import safetensors.torch
import torch

from streammeta.algorithms.base import State
from streammeta.errors import StateError
from streammeta.evaluation.prequential import Prequential
from streammeta.models.network import Layout, Parameter
from streammeta.state.progress import NOTHING, Progress, Tally
from streammeta.state.quarantine import Held
from streammeta.state.series import pack_series, unpack_series
from streammeta.state.standing import Standing
from streammeta.state.store import Meta

FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Origin:
    """What a state was made with.

    Attributes:
        fit: The settings that it depends on, as JSON values by section.
        config_hash: Their hash.
        layout: Names and shapes of the parameters.
        dtype: Their numbers, "float32" or "float64".
        constants: `Constants.hash` of the model; "" while the state does not hold them.
        given: The values of those came from a file (`model.init`), not from the factory.
    """

    fit: Mapping[str, Any]
    config_hash: str
    layout: Layout
    dtype: str
    constants: str = ""
    given: bool = False

    @property
    def algorithm(self) -> str:
        """The algorithm's name."""
        return str(self.fit["algorithm"]["name"])


class RecordingMark(NamedTuple):
    """Where a state stands in a recording.

    Attributes:
        id: The recording's.
        rows: The state contains its first rows, so many, in their order.
        replayed: They were replayed into the state; else they were recorded while it learned.
    """

    id: str
    rows: int
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The meta state: everything that the next event needs but the tasks.

    Attributes:
        origin: What it was made with.
        state: The learner's state.
        progress: How far the stream was learned.
        positions: Partition -> next offset.
        refused: Reason -> records set aside.
        topic_id: What tells the topic from a later one of the same name; "" while unknown.
        tally: Records taken, and what expired of examples.
        recording: Where the state stands in a recording; None when it belongs to none.
        executors: The compiled steps in use, by name, sorted.
        ids: The blocks of event ids that the store holds: first and one past the last.
        quarantine: The tasks that are held back.
        standing: Where the state stands in a group of ranks; None when it learns alone.
    """

    origin: Origin
    state: State
    progress: Progress
    positions: Mapping[int, int]
    refused: Mapping[str, int]
    topic_id: str = ""
    tally: Tally = NOTHING
    recording: RecordingMark | None = None
    executors: Sequence[str] = ()
    ids: tuple[int, int] = (0, 0)
    quarantine: Mapping[str, Held] = field(default_factory=dict)
    standing: Standing | None = None


def pack(checkpoint: Checkpoint) -> Meta:
    """The checkpoint as the store keeps it."""
    origin = checkpoint.origin
    document = {
        "format": FORMAT,
        "fit": origin.fit,
        "config_hash": origin.config_hash,
        "layout": [[parameter.name, parameter.shape] for parameter in origin.layout],
        "dtype": origin.dtype,
        "constants": origin.constants,
        "given": origin.given,
        "torch": torch.__version__,
        "events": checkpoint.progress.events,
        "prequential": checkpoint.progress.prequential,
        "positions": {str(partition): offset for partition, offset in checkpoint.positions.items()},
        "refused": dict(checkpoint.refused),
        "topic_id": checkpoint.topic_id,
        "tally": checkpoint.tally,
        "recording": checkpoint.recording,
        "executors": [*checkpoint.executors],
        "ids": checkpoint.ids,
        "quarantine": checkpoint.quarantine,
        "drift": pack_series(checkpoint.progress.drift).hex(),
        "standing": checkpoint.standing,
    }
    return Meta(pack_state(checkpoint.state), json.dumps(document).encode())


def pack_state(state: State) -> bytes:
    """The tensors and their names, as a safetensors file."""
    tensors = {
        "params": state.params,
        "inner_lr": state.inner_lr,
        "meta_lr": state.meta_lr,
        **{f"outer/{name}": tensor for name, tensor in state.outer.items()},
        **{f"slots/{name}": tensor for name, tensor in state.slots.items()},
    }
    on_cpu = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    return safetensors.torch.save(on_cpu)


def unpack_state(packed: bytes) -> State:
    """The inverse of `pack_state`; tensors on the CPU.

    Raises:
        safetensors.SafetensorError, KeyError: the bytes are damaged.
    """
    tensors = safetensors.torch.load(packed)
    return State(
        params=tensors["params"],
        outer=_group(tensors, "outer/"),
        slots=_group(tensors, "slots/"),
        inner_lr=tensors["inner_lr"],
        meta_lr=tensors["meta_lr"],
    )


def unpack(meta: Meta) -> Checkpoint:
    """The checkpoint from what the store kept; tensors on the CPU.

    Raises:
        StateError: written by another version, or damaged.
    """
    try:
        document = json.loads(meta.document)
        written = document["format"]
        if written == FORMAT:
            return _read(document, unpack_state(meta.tensors))
    except (ValueError, KeyError, TypeError, AttributeError, safetensors.SafetensorError) as error:
        raise StateError(
            f"the state is damaged ({error!r}); restore it from a copy, or begin anew"
        ) from error
    raise StateError(
        f"the state has format {written}, this version reads format {FORMAT}; "
        "use the version of streammeta that wrote it, or begin anew in another state.dir"
    )


def _read(document: Mapping[str, Any], state: State) -> Checkpoint:
    layout = tuple(Parameter(name, tuple(shape)) for name, shape in document["layout"])
    return Checkpoint(
        origin=Origin(
            document["fit"],
            document["config_hash"],
            layout,
            document["dtype"],
            str(document.get("constants", "")),
            bool(document.get("given", False)),
        ),
        state=state,
        progress=Progress(
            document["events"],
            Prequential.read(document["prequential"]),
            unpack_series(bytes.fromhex(document.get("drift", ""))),
        ),
        positions={int(partition): offset for partition, offset in document["positions"].items()},
        refused=document["refused"],
        topic_id=str(document.get("topic_id", "")),
        tally=Tally(*document.get("tally", ())),
        recording=RecordingMark(*mark) if (mark := document.get("recording")) else None,
        executors=tuple(map(str, document.get("executors", ()))),
        ids=_extent(document.get("ids", (0, 0))),
        quarantine={
            str(task): Held(int(event), float(norm))
            for task, (event, norm) in document.get("quarantine", {}).items()
        },
        standing=Standing(*map(int, standing)) if (standing := document.get("standing")) else None,
    )


def _extent(found: Sequence[Any]) -> tuple[int, int]:
    first, end = map(int, found)
    return first, end


def _group(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {n.removeprefix(prefix): tensor for n, tensor in tensors.items() if n.startswith(prefix)}


def check_fit(stored: Origin, now: Origin, differences: Sequence[str]) -> None:
    """Refuse a state that was made with other settings, or another network.

    Args:
        stored: What the state was made with.
        now: What the configuration describes.
        differences: The settings that differ, in words.

    Raises:
        StateError: names each difference and the remedy.
    """
    lines = list(differences)
    if not lines and stored.layout != now.layout:
        lines = [f"the model's parameters were {_words(stored.layout)}, now they are {_words(now.layout)}"]
    if lines:
        raise StateError(
            "the state does not fit the configuration:\n  "
            + "\n  ".join(lines)
            + "\nrestore these settings, or set state.dir to a new directory to begin anew"
        )


def _words(layout: Layout) -> str:
    return ", ".join(f"{parameter.name} {list(parameter.shape)}" for parameter in layout)
