"""Frozen values and buffers: the state holds them once, and is continued with the same ones alone."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file, save_model
from torch import Tensor, nn

from streammeta.cli import main
from streammeta.config import Config, load_config
from streammeta.errors import ConfigError, StateError
from streammeta.models.constants import Constants, constants_of, pack_constants, unpack_constants
from streammeta.runtime.assembly import assemble
from streammeta.runtime.blueprint import Blueprint, build_blueprint, restore
from streammeta.state.checkpoint import Checkpoint, unpack
from streammeta.state.directory import StateDirectory
from streammeta.state.export import LEARNED_ALONE, Exported, write
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.memory_store import MemoryStore
from streammeta.state.store import Meta, Store, TaskRow
from tests.scripted import CollectedDeadLetters, Fuse, FusedOrderLog, ScriptedSource

DRAWS = [1.0]
"""What the factory draws that no seed rules."""


class Backbone(nn.Module):
    """A learned head on frozen features, a buffer, one that no state_dict holds, and a tie."""

    def __init__(self, what: str = "") -> None:
        super().__init__()
        self.body, self.head = nn.Linear(3, 3).requires_grad_(False), nn.Linear(3, 3)
        self.out = nn.Linear(3, 3)
        self.out.weight = self.head.weight
        drawn = dict.fromkeys(("body", "scale", "shift"), 1.0) | ({what: DRAWS[0]} if what else {})
        self.body.weight.mul_(drawn["body"])
        self.register_buffer("scale", torch.full((3,), drawn["scale"]))
        self.register_buffer("shift", torch.full((3,), drawn["shift"]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """All of them."""
        prediction: Tensor = self.out(self.head(self.body(x) * self.scale + self.shift))
        return prediction


def config_of(what: str = "", **model: Any) -> Config:
    """The model under MOML."""
    model = {"factory": f"{__name__}:Backbone", "args": {"what": what}, "dtype": "float64"} | model
    return Config.model_validate({"model": model})


class CountingStore(MemoryStore):
    """A store that counts the commits that brought constants."""

    def __init__(self) -> None:
        super().__init__()
        self.brought = list[bool]()

    def commit(self, meta: Meta, tasks: Any, constants: bytes | None = None) -> int:
        """As the store, counted."""
        self.brought.append(constants is not None)
        return super().commit(meta, tasks, constants)


def live(config: Config, store: Store, folder: Path) -> tuple[Blueprint, Checkpoint]:
    """One life of the daemon without an event: it begins and ends with a checkpoint."""
    blueprint = build_blueprint(config)
    begun = restore(blueprint, store)
    log = FusedOrderLog(folder / "order.log")
    source = ScriptedSource([], lambda: 1, lambda: 0, Fuse(), frozenset(), lambda: None)
    assemble(
        config,
        blueprint,
        begun,
        source=source,
        dead_letters=CollectedDeadLetters([], Fuse()),
        store=store,
        order_log=log,
    ).run(until_end=True)
    log.close()
    return blueprint, begun


def test_the_state_holds_them_once(tmp_path: Path) -> None:
    """The first checkpoint brings them, no later one does, in this life or the next."""
    store = CountingStore()
    blueprint, _ = live(config_of(), store, tmp_path)
    live(config_of(), store, tmp_path)
    assert store.brought[0]
    assert len(store.brought) >= 4
    assert not any(store.brought[1:])
    meta = store.load()
    assert meta is not None
    kept = unpack_constants(store.constants(), unpack(meta).origin.constants)
    assert kept.values.keys() == {"body.weight", "body.bias", "scale"}
    assert kept.aliases == {"out.weight": "head.weight"}
    assert kept.passing().keys() == {"shift"}
    assert torch.equal(kept.values["body.weight"], blueprint.network.module.get_parameter("body.weight"))


def test_the_command_line_exports_all(tmp_path: Path) -> None:
    """From the state alone: no code of the model is at hand."""
    state = tmp_path / "state"
    with StateDirectory(state) as directory, closing(LmdbStore(directory.lmdb_path)) as store:
        blueprint, _ = live(config_of(), store, tmp_path)
    asked = ["export", "--state", str(state), "--output", str(tmp_path / "f")]
    DRAWS[0], before = 5.0, DRAWS[0]
    try:
        done = CliRunner().invoke(main, asked, catch_exceptions=False)
    finally:
        DRAWS[0] = before
    assert done.exit_code == 0
    assert done.stderr == f"{tmp_path / 'f'}: 7 tensors of the model, 0 tasks\n"
    found, whole = load_file(tmp_path / "f"), blueprint.network.module.state_dict()
    assert found.keys() == {f"meta/{name}" for name in whole}
    assert all(torch.equal(found[f"meta/{name}"], value) for name, value in whole.items())


def test_a_state_without_them_is_continued(tmp_path: Path) -> None:
    """One of the version before: they are added at the next checkpoint."""
    store, old = CountingStore(), MemoryStore()
    live(config_of(), old, tmp_path)
    meta = old.load()
    assert meta is not None
    document = json.loads(meta.document)
    del document["constants"], document["given"]
    store.commit(Meta(meta.tensors, json.dumps(document).encode()), dict[str, TaskRow | None]())
    with closing(LmdbStore(StateDirectory(tmp_path / "old").lmdb_path)) as kept:
        kept.commit(Meta(meta.tensors, json.dumps(document).encode()), dict[str, TaskRow | None]())
    done = CliRunner().invoke(
        main, ["export", "--state", str(tmp_path / "old"), "--output", str(tmp_path / "f")]
    )
    assert done.exit_code == 0, done.output
    assert f"{tmp_path / 'f'}: {LEARNED_ALONE}" in done.stderr.splitlines()
    live(config_of(), store, tmp_path)
    assert store.brought[:2] == [False, True]
    assert store.constants() == old.constants()
    after = store.load()
    assert after is not None
    assert json.loads(after.document)["constants"] == json.loads(meta.document)["constants"]


@pytest.mark.parametrize(("what", "named"), [("body", "body.weight"), ("scale", "scale"), ("shift", "shift")])
def test_other_values_are_refused_by_name(
    what: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frozen parameters, buffers, and those that no state_dict holds; with the remedy, and exit 65."""
    store = MemoryStore()
    live(config_of(what), store, tmp_path)
    live(config_of(what), store, tmp_path)
    monkeypatch.setitem(globals(), "DRAWS", [2.0])
    with pytest.raises(
        StateError, match=rf"\n  {named} has other values\n.*seed what torch does not"
    ) as told:
        restore(build_blueprint(config_of(what)), store)
    assert told.value.exit_code == 65
    assert len(str(told.value).splitlines()) == 3


def test_a_tie_that_is_gone_changes_the_hash() -> None:
    """The same values under other ties are another model."""
    one = Constants({}, {"a": "b"}, {})
    assert one.hash != Constants({}, {}, {}).hash
    assert one.hash == Constants({}, {"a": "b"}, {}).hash


def packed_pair() -> tuple[bytes, str]:
    """Constants as a store keeps them, and their hash."""
    constants = constants_of(Backbone())
    return pack_constants(constants), constants.hash


def test_damage_is_refused() -> None:
    """Any changed byte: of values, of names, of hashes; and those of another state."""
    raw, expected = packed_pair()
    assert unpack_constants(raw, expected).hash == expected
    with pytest.raises(StateError, match=r"damaged.*not those that the state's document names"):
        unpack_constants(raw, "0" * 64)
    rng = np.random.default_rng(0)
    changed = 0
    for at in {*range(0, len(raw), 7), len(raw) - 1}:
        other = bytearray(raw)
        other[at] ^= int(rng.integers(1, 256))
        try:
            same = unpack_constants(bytes(other), expected)
        except StateError:
            changed += 1
        else:  # white space between tokens, say
            assert same.hash == expected
    assert changed > len(raw) // 10


class Twin(nn.Module):
    """A parameter that shares memory with another tensor without being it."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(3, 3), nn.Linear(3, 3)
        if how == "data":
            self.two.weight.data = self.one.weight.data
        elif how == "slice":
            self.two.bias = nn.Parameter(self.one.weight.detach()[1])
        else:
            self.register_buffer("first", self.one.weight.detach())

    def forward(self, x: Tensor) -> Tensor:
        """Both."""
        prediction: Tensor = self.two(self.one(x))
        return prediction


@pytest.mark.parametrize("how", ["data", "slice", "buffer"])
def test_shared_memory_that_is_no_tie_is_refused(how: str) -> None:
    """Plain PyTorch moves both in place; a function of named parameters would not."""
    with pytest.raises(ConfigError, match="share memory without being one tensor; assign the parameter"):
        build_blueprint(load_config(None, [f"model.factory={__name__}:Twin", f"model.args.how={how}"], {}))


class Extra(nn.Linear):
    """Extra state that is no tensor."""

    def get_extra_state(self) -> Any:
        """A table."""
        return {"version": 3}


def test_a_state_dict_that_no_file_holds_is_refused() -> None:
    """Extra state of any form, complex numbers of 16 bytes, sparse buffers: named."""
    with pytest.raises(ConfigError, match=r"state_dict\(\) holds _extra_state, which is the extra state"):
        constants_of(Extra(2, 2))
    for buffer, said in (
        (torch.zeros(2, dtype=torch.complex128), "b is complex128"),
        (torch.eye(2).to_sparse(), "b is sparse_coo"),
    ):
        module = nn.Linear(2, 2)
        module.register_buffer("b", buffer)
        with pytest.raises(ConfigError, match=said):
            constants_of(module)


def begun_at(path: Path, **model: Any) -> tuple[Blueprint, Checkpoint]:
    """A new state that begins at the file."""
    blueprint = build_blueprint(config_of(init=str(path), **model))
    return blueprint, restore(blueprint, MemoryStore())


def other_module() -> nn.Module:
    """A model of other values, in other numbers."""
    torch.manual_seed(9)
    module = Backbone()
    module.scale.fill_(3.0)  # type: ignore[operator]  # a buffer
    return module


@pytest.mark.parametrize("form", ["state_dict", "model", "export"])
def test_a_new_state_begins_at_a_file(form: str, tmp_path: Path) -> None:
    """A state_dict with each name, one name of a tie, or an export's meta/: frozen values and buffers too."""
    module, path, x = other_module(), tmp_path / "f", torch.randn(4, 3, dtype=torch.float64)
    if form == "model":
        save_model(module, str(path))
    else:
        save_file({name: value.clone() for name, value in module.state_dict().items()}, path)
    if form == "export":
        blueprint, begun = begun_at(path)
        path = tmp_path / "exported"
        write(path, Exported(begun, constants_of(blueprint.network.module)))
    blueprint, begun = begun_at(path)
    assert torch.allclose(blueprint.network.predict(begun.state.params, x), module.double()(x))


def test_a_state_goes_on_without_the_file(tmp_path: Path) -> None:
    """Its frozen values are the state's: the file may go, change, or be set later, and nothing moves."""
    path, store = tmp_path / "f", MemoryStore()
    save_model(other_module(), str(path))
    blueprint, begun = live(config_of(init=str(path)), store, tmp_path)
    path.unlink()
    for init in (str(path), ""):
        again, back = live(config_of(init=init), store, tmp_path)
        assert torch.equal(back.state.params, begun.state.params)
        assert torch.equal(again.network.module.get_buffer("scale"), torch.full((3,), 3.0).double())
    assert constants_of(again.network.module).hash == constants_of(blueprint.network.module).hash


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.pop("head.bias"), "it lacks head.bias;"),
        (lambda d: d.pop("scale"), "it lacks scale;"),
        (lambda d: d.update(more=torch.ones(1)), "it has more, which the model has not"),
        (
            lambda d: d.update({"head.bias": torch.ones(4)}),
            r"head.bias is \[4\] in the file, \[3\] in the model",
        ),
        (lambda d: d.update({"scale": torch.ones(3).int()}), "scale holds int32 in the file, float64"),
        (lambda d: d.update({"head.bias": torch.full((3,), torch.nan)}), "head.bias holds NaN"),
        (lambda d: d.update({"out.weight": torch.ones(3, 3)}), "head.weight and out.weight are one tensor"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(change: Any, said: str, tmp_path: Path) -> None:
    """Named, each of its faults; exit 78."""
    values = {name: value.clone() for name, value in other_module().state_dict().items()}
    change(values)
    save_file(values, tmp_path / "f")
    with pytest.raises(ConfigError, match=said) as refused:
        begun_at(tmp_path / "f")
    assert str(refused.value).startswith(f'model.init = "{tmp_path / "f"}"')


def test_a_number_too_large_for_the_model_is_refused(tmp_path: Path) -> None:
    """Finite in the file's float64, infinite in the model's float32."""
    values = {name: value.double().clone() for name, value in other_module().state_dict().items()}
    values["head.bias"][0] = 1e300
    save_file(values, tmp_path / "f")
    with pytest.raises(ConfigError, match=r"head\.bias holds a number too large for float32"):
        begun_at(tmp_path / "f", dtype="float32")


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """None, a folder, a pickle."""
    torch.save({"a": torch.ones(1)}, tmp_path / "pickle")
    for name, said in (
        ("absent", "No such file"),
        (".", "Is a directory"),
        ("pickle", "no safetensors file"),
    ):
        with pytest.raises(ConfigError, match=said):
            begun_at(tmp_path / name)
