"""The meta state as bytes: back to the same bits, or refused in words."""

import json
import math
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streammeta.algorithms.base import State
from streammeta.errors import StateError
from streammeta.evaluation.prequential import Fading, Prequential
from streammeta.models.network import Parameter
from streammeta.state.checkpoint import FORMAT, Checkpoint, Origin, check_fit, pack, unpack
from streammeta.state.progress import Progress
from streammeta.state.store import Meta

FINITE = st.floats(allow_nan=False, allow_infinity=False)
FADINGS = st.builds(Fading, FINITE, FINITE)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int8, torch.int64, torch.uint8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FINITE | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    """A tensor of any bits and any dtype; NaN and infinity too."""
    dtype = draw(st.sampled_from(DTYPES))
    count = draw(st.integers(0, 5))
    raw = draw(st.binary(min_size=8 * count, max_size=8 * count))
    return torch.frombuffer(bytearray(raw + bytes(8)), dtype=torch.uint8)[: 8 * count].clone().view(dtype)


@st.composite
def checkpoints(draw: st.DrawFn) -> Checkpoint:
    """Any checkpoint."""
    shapes = st.lists(st.integers(1, 9), max_size=3).map(tuple)
    return Checkpoint(
        origin=Origin(
            fit={"algorithm": {"name": "moml"}} | draw(st.dictionaries(NAMES, JSON, max_size=3)),
            config_hash=draw(st.text("0123456789abcdef", max_size=64)),
            layout=tuple(draw(st.lists(st.builds(Parameter, NAMES, shapes), max_size=3))),
            dtype=draw(st.sampled_from(["float32", "float64"])),
        ),
        state=State(
            params=draw(tensors()),
            outer=draw(st.dictionaries(NAMES, tensors(), max_size=2)),
            slots=draw(st.dictionaries(NAMES, tensors(), max_size=2)),
            inner_lr=torch.tensor(draw(FINITE), dtype=torch.float64),
            meta_lr=torch.tensor(draw(FINITE), dtype=torch.float64),
        ),
        progress=Progress(
            draw(st.integers(0, 2**63)), Prequential(*draw(st.tuples(FADINGS, FADINGS, FADINGS, FADINGS)))
        ),
        positions=draw(st.dictionaries(st.integers(0, 2**31), st.integers(0, 2**63), max_size=4)),
        refused=draw(st.dictionaries(st.sampled_from(["bad_tensor", "too_large"]), st.integers(0, 10**9))),
        ids=draw(st.tuples(st.integers(0, 2**40), st.integers(0, 2**40))),
    )


def example() -> Checkpoint:
    """One checkpoint of two parameters."""
    return Checkpoint(
        origin=Origin(
            {"algorithm": {"name": "moml", "beta": 0.3}},
            "ab" * 32,
            (Parameter("0.weight", (1, 2)), Parameter("0.bias", (1,))),
            "float32",
        ),
        state=State(torch.ones(3), {"momentum": torch.zeros(3)}, {}, torch.tensor(0.1), torch.tensor(0.2)),
        progress=Progress(7, Prequential().fold(1.0, 2.0, math.nan, 0.5)),
        positions={0: 5, 3: 9},
        refused={"bad_tensor": 2},
    )


def bits(state: State) -> list[tuple[str, torch.dtype, tuple[int, ...], bytes]]:
    """All tensors by name, with their bytes."""
    named = {
        "params": state.params,
        "inner_lr": state.inner_lr,
        "meta_lr": state.meta_lr,
        **{f"outer:{name}": tensor for name, tensor in state.outer.items()},
        **{f"slots:{name}": tensor for name, tensor in state.slots.items()},
    }
    return sorted(
        (name, t.dtype, tuple(t.shape), t.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        for name, t in named.items()
    )


@settings(deadline=None)
@given(checkpoints())
def test_unpack_gives_back_what_was_packed(checkpoint: Checkpoint) -> None:
    """Counters, positions and settings are equal, tensors of every dtype have the same bytes."""
    back = unpack(pack(checkpoint))
    assert replace(back, state=checkpoint.state) == checkpoint
    assert bits(back.state) == bits(checkpoint.state)


def test_what_is_unknown_stays_unknown() -> None:
    """A mean without a value comes back as such."""
    back = unpack(pack(example()))
    assert math.isnan(back.progress.prequential.memory.mean)
    assert back.progress.prequential.adapted.mean == 2.0
    assert back.origin.algorithm == "moml"


def test_packing_is_reproducible() -> None:
    """The same checkpoint gives the same bytes, and the packed copy does not follow the state."""
    checkpoint = example()
    packed = pack(checkpoint)
    assert packed == pack(example())
    checkpoint.state.params.zero_()
    assert unpack(packed).state.params.tolist() == [1.0, 1.0, 1.0]


def test_a_view_is_packed_as_its_own_numbers() -> None:
    """Slices and transposes of larger tensors, and one tensor under two names."""
    whole = torch.arange(12.0).view(3, 4)
    state = example().state._replace(params=whole[:, 1], outer={"momentum": whole[:, 1], "m2": whole.T})
    back = unpack(pack(replace(example(), state=state))).state
    assert back.params.tolist() == [1.0, 5.0, 9.0] == back.outer["momentum"].tolist()
    assert torch.equal(back.outer["m2"], whole.T)


def altered(**changes: Any) -> Meta:
    """The example with other values in its document."""
    packed = pack(example())
    document = json.loads(packed.document) | changes
    return Meta(packed.tensors, json.dumps(document).encode())


def test_another_format_is_refused_with_both_numbers() -> None:
    """What wrote it and what reads it, and the remedy."""
    with pytest.raises(
        StateError, match=rf"format 99, this version reads format {FORMAT}; use the version"
    ) as e:
        unpack(altered(format=99))
    assert e.value.exit_code == 65


@pytest.mark.parametrize(
    "changes",
    [
        {"positions": [1, 2]},
        {"positions": {"x": 1}},
        {"positions": None},
        {"layout": [["a"]]},
        {"layout": 3},
        {"prequential": [1, 2, 3, 4]},
        {"prequential": [[1, 2, 3]] * 4},
    ],
)
def test_a_document_of_another_form_is_damaged(changes: dict[str, Any]) -> None:
    """It is a StateError with a remedy, never a traceback."""
    with pytest.raises(StateError, match=r"the state is damaged .*restore it from a copy"):
        unpack(altered(**changes))


@pytest.mark.parametrize("document", [b"", b"{", b"[]", b"3", b"null", b"{}", b"\xff", b'{"format": 1}'])
def test_a_document_that_is_none_is_damaged(document: bytes) -> None:
    """Cut short, not JSON, not an object, empty."""
    with pytest.raises(StateError, match="damaged"):
        unpack(Meta(pack(example()).tensors, document))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damaged_bytes_are_refused_or_still_a_checkpoint(data: st.DataObject) -> None:
    """Any cut or changed bytes: a StateError, or a checkpoint (a changed digit is one); nothing else."""
    packed = pack(example())
    field = data.draw(st.sampled_from(["tensors", "document"]))
    raw = bytearray(packed.tensors if field == "tensors" else packed.document)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.none() | st.integers(0, len(raw)))
    with suppress(StateError):
        changed = bytes(raw[:cut])
        tensors = field == "tensors"
        damaged = replace(packed, tensors=changed) if tensors else replace(packed, document=changed)
        assert isinstance(unpack(damaged), Checkpoint)


@pytest.mark.parametrize("missing", ["params", "inner_lr", "meta_lr"])
def test_missing_tensors_are_damage(missing: str) -> None:
    """Each tensor that every state has is asked for."""
    packed = pack(example())
    held = safetensors.torch.load(packed.tensors)
    del held[missing]
    with pytest.raises(StateError, match=f"damaged.*{missing}"):
        unpack(replace(packed, tensors=safetensors.torch.save(held)))


def test_a_state_that_fits_is_taken() -> None:
    """No differences, the same layout: no refusal, whatever the hash."""
    origin = example().origin
    check_fit(origin, replace(origin, config_hash="other"), [])


def test_each_difference_of_settings_is_named() -> None:
    """All of them, a line each, and both remedies; the layout is not told on top."""
    origin = example().origin
    other = replace(origin, layout=(Parameter("w", (9,)),))
    with pytest.raises(StateError) as refused:
        check_fit(origin, other, ["model.seed: one", "algorithm.beta: two"])
    assert str(refused.value) == (
        "the state does not fit the configuration:\n  model.seed: one\n  algorithm.beta: two\n"
        "restore these settings, or set state.dir to a new directory to begin anew"
    )


def test_another_network_behind_the_same_settings_is_named() -> None:
    """The factory's code changed: both layouts are shown."""
    origin = example().origin
    other = replace(origin, layout=(Parameter("w", (9,)),))
    said = r"parameters were 0\.weight \[1, 2\], 0\.bias \[1\], now they are w \[9\]"
    with pytest.raises(StateError, match=said):
        check_fit(origin, other, [])
