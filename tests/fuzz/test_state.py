"""Whatever lies in a state's directory, its content is read as it was, or a `StateError` tells why not."""

import random
from contextlib import closing
from pathlib import Path

import pytest

from streammeta.errors import StateError
from streammeta.events import Cut, OrderEntry, Passed, Run, Switch
from streammeta.state.checkpoint import unpack
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.order_log import OrderLog
from streammeta.state.trials import Trials
from tests.fuzz.inputs import bounded, count, mutated, quick
from tests.states import make_state

SPICE = [b"\0" * 8, b"\xff" * 8, b"streammeta order", b"\x01", b"\x04\0\0\0\0", b"\x80\x04\x95", b"9" * 30]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A small state."""
    return make_state(tmp_path / "state")


def content_of(state: Path) -> object:
    """All that a reader shows."""
    with closing(LmdbStore(state / "lmdb", readonly=True)) as store:
        meta = store.load()
        assert meta is not None
        checkpoint = unpack(meta)
        rows = {task: repr(store.get(task)) for task, _ in store.stats()}
        return checkpoint.positions, checkpoint.refused, meta.tensors, rows


def test_a_store_is_what_it_was_or_is_refused(state: Path) -> None:
    """Bits flipped, pages moved, files cut: none is silently another, none a traceback."""
    chance = random.Random(4)
    data = state / "lmdb" / "data.mdb"
    sound, told = data.read_bytes(), content_of(state)
    refused = 0
    with bounded():
        for _ in range(count(150)):
            data.write_bytes(mutated(sound, chance, SPICE))
            try:
                with quick(state):
                    found = content_of(state)
            except StateError:
                refused += 1
            else:
                assert found == told
    assert refused > 0


def test_an_order_log_is_read_or_refused(tmp_path: Path) -> None:
    """What remains of it are entries that were written, from the first on."""
    chance = random.Random(5)
    path = tmp_path / "order.log"
    entries: list[OrderEntry] = [
        Run(0, 3, 9),
        Cut(),
        Switch("ab" * 16),
        Passed(1, 4, stage="step", died=True),
        Run(2, 0, 5),
    ]
    with closing(OrderLog(path)) as log:
        log.append(entries)
    sound = path.read_bytes()
    with bounded():
        for _ in range(count(500)):
            path.write_bytes(mutated(sound, chance, SPICE))
            try:
                with quick(path), closing(OrderLog(path)) as log:
                    found = log._entries
            except StateError:
                continue
            assert len(found) <= 2 * len(entries)
            assert all(entry in entries for entry in found)


def test_trials_are_read_or_begun_anew(tmp_path: Path) -> None:
    """A damaged file of marks condemns no more than it can hold, and never stops a start."""
    chance = random.Random(6)
    path = tmp_path / "trials"
    with closing(Trials(path)):
        pass
    sound = path.read_bytes()[:4096]
    with bounded():
        for _ in range(count(300)):
            path.write_bytes(mutated(sound, chance, SPICE))
            with quick(path), closing(Trials(path)) as trials:
                assert len(trials.condemned) <= 1024
                trials.begin_life()
