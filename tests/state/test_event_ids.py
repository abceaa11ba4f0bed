"""The window of event ids: known exactly as long as it says, in bounded memory, over any restarts."""

import random

import pytest

from streammeta.errors import StateError
from streammeta.state.event_ids import BLOCK_IDS, EventIds


def identity(number: int) -> bytes:
    """16 bytes."""
    return number.to_bytes(16)


def test_an_id_is_known_for_so_many_records() -> None:
    """At the window's last record it is known, at the next one not; another id never is."""
    ids = EventIds(10)
    ids.add(identity(1), 5)
    assert [ids.known(identity(1), number) for number in (6, 15, 16)] == [True, True, False]
    assert not ids.known(identity(2), 6)


@pytest.mark.parametrize("window", [1, 700, 3000])
def test_any_restarts_know_what_a_plain_dict_knows(window: int) -> None:
    """Among 20,000 records, with ids that come back, and with all that is not stored lost at each restart."""
    draws = random.Random(window)
    ids, stored, last = EventIds(window), dict[int, bytes](), dict[bytes, int]()
    for number in range(1, 20_001):
        event = identity(draws.randrange(max(1, number - 2 * window), number + 50))
        known = event in last and number - last[event] <= window
        assert ids.known(event, number) == known
        if not known and draws.random() < 0.9:
            ids.add(event, number)
            last[event] = number
        assert len(ids) <= window + 2 * BLOCK_IDS
        if draws.random() < 0.002:
            stored = {n: block for n, block in (stored | ids.changed()).items() if block is not None}
            ids = EventIds(window, stored, ids.extent)
    assert len(stored) <= window // BLOCK_IDS + 2


def test_only_what_changed_is_written() -> None:
    """A commit writes the last block, not the whole window."""
    ids = EventIds(100 * BLOCK_IDS)
    for number in range(10 * BLOCK_IDS + 5):
        ids.add(identity(number), number)
    assert sorted(ids.changed()) == [*range(11)]
    ids.add(identity(10**6), 10**6)
    assert {place: len(block or b"") for place, block in ids.changed().items()} == {10: 6 * 24}
    assert ids.changed() == {}


def test_a_damaged_window_is_refused() -> None:
    """A block is missing, is one too many, or has another length."""
    ids = EventIds(10**6)
    for number in range(3 * BLOCK_IDS):
        ids.add(identity(number), number)
    blocks = {place: block for place, block in ids.changed().items() if block is not None}
    assert len(EventIds(10**6, blocks, (0, 3))) == 3 * BLOCK_IDS
    without = {place: block for place, block in blocks.items() if place != 1}
    for stored, extent in ((without, (0, 3)), (blocks, (0, 2)), ({**blocks, 2: blocks[2][:-1]}, (0, 3))):
        with pytest.raises(StateError, match=r"damaged.*event ids.*checkpoint restore"):
            EventIds(10**6, stored, extent)
