"""The stores, and the double of the kill proofs, keep the contract of `tests.contracts.store`."""

import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest

from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.memory_store import MemoryStore
from streammeta.state.store import Store
from tests.contracts.store import NewStore, StoreContract
from tests.scripted import Fuse, FusedStore
from tests.simulator.clock import Clock
from tests.simulator.disk import Disk, DiskStore


@contextmanager
def memory() -> Iterator[Store]:
    """A fresh store in memory."""
    with closing(MemoryStore()) as store:
        yield store


@contextmanager
def lmdb() -> Iterator[Store]:
    """A fresh store on disk."""
    with tempfile.TemporaryDirectory() as directory, closing(LmdbStore(Path(directory) / "lmdb")) as store:
        yield store


@contextmanager
def fused() -> Iterator[Store]:
    """The kill proofs' store, over a fresh one in memory; it has no moment to be killed at."""
    with closing(FusedStore(Fuse(), MemoryStore())) as store:
        yield store


@contextmanager
def simulated() -> Iterator[Store]:
    """The simulator's store, on a disk where nothing happens."""
    with closing(DiskStore(Disk(Clock(), random.Random(0)))) as store:
        yield store


STORES: list[Callable[[], AbstractContextManager[Store]]] = [memory, lmdb, fused, simulated]


@pytest.fixture(scope="module", params=STORES, ids=lambda store: store.__name__)
def new_store(request: pytest.FixtureRequest) -> NewStore:
    """A fresh store per call."""
    new: NewStore = request.param
    return new


class TestStores(StoreContract):
    """One line in `STORES` enrols a store."""
