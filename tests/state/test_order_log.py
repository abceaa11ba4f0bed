"""The order log gives back what it was given, whatever was torn off, and nothing else."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from streammeta.errors import StateError
from streammeta.events import Cut, OrderEntry, Positions, Run, Switch
from streammeta.state.order_log import HEADER, MAGIC, OrderLog
from tests.scripted import FusedOrderLog
from tests.state.processes import next_line, python

ENTRY_BYTES = 25

unhurried = settings(deadline=None)  # a disk may be slow at any moment

OFFSETS = st.one_of(st.integers(0, 20), st.integers(0, 2**62))
run_values = st.builds(
    lambda partition, first, length: Run(partition, first, first + length),
    st.one_of(st.integers(0, 3), st.integers(0, 2**31 - 1)),
    OFFSETS,
    st.integers(1, 20),
)
Entries = Sequence[OrderEntry]
entries = st.one_of(run_values, run_values, st.just(Cut()))
batches = st.lists(st.lists(entries, max_size=4), max_size=6)
positions_maps = st.dictionaries(st.integers(0, 4), st.integers(0, 30), max_size=5)


@contextmanager
def fresh_path() -> Iterator[Path]:
    """A path in a directory of its own; Hypothesis shares `tmp_path` among examples."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory) / "order.log"


def written(path: Path, logged: Sequence[Entries]) -> list[OrderEntry]:
    """Log batches and close; the entries in order."""
    with closing(OrderLog(path)) as log:
        for batch in logged:
            log.append(batch)
    return [entry for batch in logged for entry in batch]


def reopened(path: Path, positions: Positions | None = None) -> list[OrderEntry]:
    """What a new process finds pending."""
    with closing(OrderLog(path)) as log:
        return log.pending(positions or {})


def reasonable(logged: Entries) -> list[OrderEntry]:
    """Without cuts that close nothing: at the front, or right after another."""
    return [
        entry
        for before, entry in pairwise([Cut(), *logged])
        if isinstance(entry, Run) or isinstance(before, Run)
    ]


def offsets(logged: Entries, positions: Positions) -> list[tuple[int, int, int]]:
    """By plain loops: (index of run, partition, offset) that `positions` do not contain."""
    return [
        (index, entry.partition, offset)
        for index, entry in enumerate(logged)
        if isinstance(entry, Run)
        for offset in range(entry.first, entry.end)
        if offset >= positions.get(entry.partition, 0)
    ]


@unhurried
@given(logged=batches)
def test_round_trip(logged: list[list[OrderEntry]]) -> None:
    """What was appended is pending, in order, in this process and the next; but for cuts of nothing."""
    with fresh_path() as path:
        whole = written(path, logged)
        assert reopened(path) == reasonable(whole)
        assert path.stat().st_size == len(HEADER) + ENTRY_BYTES * len(whole)


@unhurried
@given(logged=batches, data=st.data())
def test_any_tear(logged: list[list[OrderEntry]], data: st.DataObject) -> None:
    """A file that ends at any byte gives its whole entries; the torn one is gone, and appending goes on."""
    with fresh_path() as path:
        whole = written(path, logged)
        size_bytes = data.draw(st.integers(0, path.stat().st_size))
        os.truncate(path, size_bytes)
        kept = whole[: max(0, size_bytes - len(HEADER)) // ENTRY_BYTES]
        assert reopened(path) == reasonable(kept)
        assert path.stat().st_size == len(HEADER) + ENTRY_BYTES * len(kept)
        later: list[OrderEntry] = [Run(0, 5, 6), Cut()]
        written(path, [later])
        assert reopened(path) == reasonable([*kept, *later])


@unhurried
@given(
    logged=batches.filter(any),
    data=st.data(),
    flipped=st.integers(1, 255),
    filler=st.sampled_from([b"\0", b"x"]),
)
def test_any_damage(logged: list[list[OrderEntry]], data: st.DataObject, flipped: int, filler: bytes) -> None:
    """A changed byte drops its entry and all later ones; so does anything that stands after the end."""
    with fresh_path() as path:
        whole = written(path, logged)
        content = bytearray(path.read_bytes())
        at = data.draw(st.integers(len(HEADER), len(content) - 1))
        path.write_bytes(content + filler * data.draw(st.integers(0, 3 * ENTRY_BYTES)))
        assert reopened(path) == reasonable(whole)
        content[at] ^= flipped
        path.write_bytes(content)
        assert reopened(path) == reasonable(whole[: (at - len(HEADER)) // ENTRY_BYTES])


@unhurried
@given(logged=batches, positions=positions_maps)
def test_pending_is_what_positions_do_not_contain(
    logged: list[list[OrderEntry]], positions: dict[int, int]
) -> None:
    """Exactly the offsets not contained are pending, run by run in logged order, none of them empty."""
    with fresh_path() as path:
        whole = written(path, logged)
        pending = reopened(path, positions)
        runs = [entry for entry in pending if isinstance(entry, Run)]
        assert all(run.first < run.end for run in runs)
        expected = offsets(whole, positions)
        assert [found[1:] for found in offsets(pending, {})] == [wanted[1:] for wanted in expected]
        assert len(runs) == len({index for index, _, _ in expected})


@unhurried
@given(logged=batches, positions=positions_maps)
def test_cuts_stay_where_they_closed_something(
    logged: list[list[OrderEntry]], positions: dict[int, int]
) -> None:
    """Between two pending runs, and after the last, there is a cut exactly if one was logged there."""
    with fresh_path() as path:
        whole = written(path, logged)
        pending = reopened(path, positions)
        places = sorted({index for index, _, _ in offsets(whole, positions)})
        expected = [
            any(isinstance(entry, Cut) for entry in whole[begin:end])
            for begin, end in pairwise([*places, len(whole)])
        ]
        found = [isinstance(after, Cut) for run, after in pairwise([*pending, None]) if isinstance(run, Run)]
        assert found == expected
        assert pending == reasonable(pending)


A, B = Switch("0123456789abcdef" * 2), Switch("f" * 32)


def test_switches_round_trip(tmp_path: Path) -> None:
    """Every bit of a name comes back, and so does the switch to traced steps, each at its place."""
    logged: list[OrderEntry] = [A, Run(0, 0, 5), B, Run(1, 0, 2), Switch(), Cut(), Run(0, 5, 6)]
    assert written(tmp_path / "order.log", [logged]) == reopened(tmp_path / "order.log")


@pytest.mark.parametrize(
    ("contained", "pending"),
    [
        (0, [A, Run(0, 0, 5), B, Run(0, 5, 9), Cut()]),
        (2, [Run(0, 2, 5), B, Run(0, 5, 9), Cut()]),
        (5, [B, Run(0, 5, 9), Cut()]),
        (6, [Run(0, 6, 9), Cut()]),
        (9, []),
    ],
)
def test_a_switch_is_pending_while_nothing_after_it_is_contained(
    tmp_path: Path, contained: int, pending: list[OrderEntry]
) -> None:
    """A state that contains an event knows who applied it; one after which nothing was applied is none."""
    path = tmp_path / "order.log"
    written(path, [[A, Run(0, 0, 5), B, Run(0, 5, 9), Cut(), A]])
    assert reopened(path, {0: contained}) == pending
    with closing(OrderLog(path)) as log:
        log.forget({0: contained})
    assert reopened(path, {0: contained}) == pending


@pytest.mark.parametrize(
    ("at", "whole"),
    [
        ({0: 0, 1: 0}, [B, A, Run(0, 0, 5), Cut(), Run(1, 0, 4), Run(0, 5, 9)]),
        ({0: 2, 1: 0}, [A, Run(0, 0, 2), B, Run(0, 2, 5), Cut(), Run(1, 0, 4), Run(0, 5, 9)]),
        ({0: 5, 1: 0}, [A, Run(0, 0, 5), Cut(), B, Run(1, 0, 4), Run(0, 5, 9)]),
        ({0: 5, 1: 3}, [A, Run(0, 0, 5), Cut(), Run(1, 0, 3), B, Run(1, 3, 4), Run(0, 5, 9)]),
        ({0: 6, 1: 4}, [A, Run(0, 0, 5), Cut(), Run(1, 0, 4), Run(0, 5, 6), B, Run(0, 6, 9)]),
        ({0: 9, 1: 4}, [A, Run(0, 0, 5), Cut(), Run(1, 0, 4), Run(0, 5, 9), B]),
    ],
)
def test_a_switch_is_inserted_where_the_state_stands(
    tmp_path: Path, at: dict[int, int], whole: list[OrderEntry]
) -> None:
    """Before what is not applied yet, behind what is, in the midst of a run too; also after reopening."""
    path = tmp_path / "order.log"
    with closing(OrderLog(path)) as log:
        log.append([A, Run(0, 0, 5), Cut(), Run(1, 0, 4), Run(0, 5, 9)])
        log.insert(at, [B])
        log.append([Run(0, 9, 10)])
        expected = sorted_switches([*whole, Run(0, 9, 10)])
        assert sorted_switches(log.pending({})) == expected
    assert sorted_switches(reopened(path)) == expected


def sorted_switches(logged: list[OrderEntry]) -> list[OrderEntry]:
    """The same, a switch to A before one to B where nothing is between: they concern other shapes."""
    for place, pair in enumerate(pairwise(logged)):
        if pair == (B, A):
            logged[place : place + 2] = [A, B]
    return logged


@unhurried
@given(logged=batches, positions=positions_maps, later=st.lists(entries, max_size=3))
def test_forget(logged: list[list[OrderEntry]], positions: dict[int, int], later: list[OrderEntry]) -> None:
    """What positions contain is forgotten, the rest stays and is appended to, now and after reopening."""
    with fresh_path() as path:
        with closing(OrderLog(path)) as log:
            for batch in logged:
                log.append(batch)
            kept = log.pending(positions)
            log.forget(positions)
            assert path.stat().st_size == len(HEADER) + ENTRY_BYTES * len(kept)
            log.append(later)
            assert log.pending({}) == reasonable([*kept, *later])
        assert reopened(path) == reasonable([*kept, *later])
        assert [file.name for file in path.parent.iterdir()] == ["order.log"]


def test_appended_entries_survive_a_kill(tmp_path: Path) -> None:
    """What `append` was given is there after SIGKILL, without a close."""
    path = tmp_path / "order.log"
    appending = """
import pathlib, sys
from streammeta.events import Cut, Run
from streammeta.state.order_log import OrderLog
log = OrderLog(pathlib.Path(sys.argv[1]))
log.append([Run(0, 0, 5), Run(1, 7, 9)])
log.append([Cut()])
print("appended", flush=True)
sys.stdin.read()
"""
    with python("-c", appending, str(path)) as process:
        assert next_line(process) == "appended"
    assert reopened(path) == [Run(0, 0, 5), Run(1, 7, 9), Cut()]


@pytest.mark.parametrize("content", [b"", MAGIC[:5], HEADER[:-1], b"\0", b"\0" * 100], ids=ascii)
def test_nothing_but_a_torn_header(tmp_path: Path, content: bytes) -> None:
    """A file that a crash left without a header is an empty log."""
    path = tmp_path / "order.log"
    path.write_bytes(content)
    assert reopened(path) == []
    assert path.read_bytes() == HEADER


FUTURE_KIND = HEADER + bytes.fromhex("09 00000000 0000000000000000 0000000000000000 634f2cfb")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"some text\n", "is not an order log; move it away"),
        (MAGIC + b"\2\0\0\0", r"another version of streammeta \(this one reads format 1\); use the version"),
        (FUTURE_KIND, "entry of unknown kind 9; a newer streammeta wrote it"),
    ],
)
def test_foreign(tmp_path: Path, content: bytes, message: str) -> None:
    """A file of something else, or of a later version, is refused with the remedy and stays as it was."""
    path = tmp_path / "order.log"
    path.write_bytes(content)
    with pytest.raises(StateError, match=message):
        OrderLog(path)
    assert path.read_bytes() == content


def test_cannot_be_opened(tmp_path: Path) -> None:
    """The refusal names the file, the cause and the remedy."""
    with pytest.raises(StateError, match=r"order\.log: Is a directory; .*may read and write the file"):
        OrderLog(_made(tmp_path / "order.log"))


def test_disk_full(tmp_path: Path) -> None:
    """An append that does not fit is refused as a whole; what was logged before stays."""
    path = tmp_path / "order.log"
    appending = """
import pathlib, resource, sys
from streammeta.errors import StateError
from streammeta.events import Run
from streammeta.state.order_log import OrderLog
log = OrderLog(pathlib.Path(sys.argv[1]))
log.append([Run(0, 0, 5)])
resource.setrlimit(resource.RLIMIT_FSIZE, (60, 60))
for runs in ([Run(0, 5, 6), Run(0, 6, 7)], [Run(0, 5, 7)] * 9):
    try:
        log.append(runs)
    except StateError as error:
        print(error, flush=True)
print(log.pending({}) == [Run(0, 0, 5)], flush=True)
"""
    with python("-c", appending, str(path)) as process:
        for _ in range(2):
            assert "were written, the disk is full; make room" in next_line(process)
        assert next_line(process) == "True"
    assert reopened(path) == [Run(0, 0, 5)]


def test_close_twice(tmp_path: Path) -> None:
    """A second `close` does nothing."""
    log = OrderLog(tmp_path / "order.log")
    log.close()
    log.close()


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


def test_damage_in_the_middle_is_told(tmp_path: Path) -> None:
    """A flipped bit drops its entry and those behind it, with a warning; a torn tail drops without a word."""
    path = tmp_path / "order.log"
    runs = written(path, [[Run(0, n, n + 1) for n in range(5)]])
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    with capture_logs() as told:
        assert reopened(path) == runs[:-1]
    assert told == []
    damaged = bytearray(whole)
    damaged[len(HEADER) + 2 * ENTRY_BYTES + 4] ^= 1
    path.write_bytes(damaged)
    with capture_logs() as told:
        assert reopened(path) == runs[:2]
    assert [line["entries_dropped"] for line in told] == [3]


@unhurried
@given(logged=batches, positions=positions_maps)
def test_the_log_of_the_kill_proofs_is_the_log(logged: list[Entries], positions: Positions) -> None:
    """With no moment to be killed at, it gives back the same and leaves the same bytes."""
    found = []
    for made in (OrderLog, FusedOrderLog):
        with fresh_path() as path, closing(made(path)) as log:
            for batch in logged:
                log.append(batch)
            log.forget(positions)
            found.append((log.pending({}), path.read_bytes()))
    assert found[0] == found[1]


@given(kept=st.integers(0, len(HEADER)), zeros=st.integers(0, 3 * ENTRY_BYTES))
@unhurried
def test_a_first_write_that_a_power_cut_left_as_zeros(kept: int, zeros: int) -> None:
    """A header of which a part is zeros, whatever follows it: nothing was logged, and the log serves."""
    with fresh_path() as path:
        path.write_bytes(HEADER[:kept] + bytes(zeros))
        assert reopened(path) == []
        assert written(path, [[Run(0, 1, 2)]]) == reopened(path)
