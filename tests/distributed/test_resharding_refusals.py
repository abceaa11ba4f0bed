"""What `reshard` refuses, and what it leaves as it was."""

from pathlib import Path

import pytest

from streammeta.distributed.place import directory_of
from streammeta.errors import StateError, StateLocked
from streammeta.state.directory import StateDirectory
from streammeta.stream.kafka.partitions import partition_of
from tests.distributed.groups import make_group, memories, move, read, write
from tests.distributed.test_resharding import TASKS
from tests.states import checkpoint_of, row_of


def test_what_is_locked_is_refused(tmp_path: Path) -> None:
    """While a process writes to one of the ranks; and no process may begin to while it is read."""
    group = make_group(tmp_path / "two", 2, 4, TASKS)
    with StateDirectory(directory_of(group, 1)), pytest.raises(StateLocked, match="rank-1: process"):
        move(group, tmp_path / "one", 1)

    def begin(_step: str) -> None:
        with pytest.raises(StateLocked), StateDirectory(directory_of(group, 0)):
            pass

    move(group, tmp_path / "one", 1, said=begin)


def test_what_is_there_is_refused(tmp_path: Path) -> None:
    """A target that holds anything, or lies in the source; two writers of one target."""
    group = make_group(tmp_path / "two", 2, 4, TASKS)
    with pytest.raises(StateError, match="not empty"):
        move(group, tmp_path, 1)
    with pytest.raises(StateError, match="lies in"):
        move(group, group / "new", 1)

    other = make_group(tmp_path / "other", 2, 4, TASKS)

    def second(step: str) -> None:
        if step == "rank 0":
            with pytest.raises(StateLocked):
                move(other, tmp_path / "one", 1)

    (tmp_path / "one").mkdir()
    move(group, tmp_path / "one", 1, said=second)


def test_ranks_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    """One is missing, is another's, or was made with other settings."""
    group = make_group(tmp_path / "four", 4, 8, TASKS)
    with pytest.raises(StateError, match="name the directory above"):
        move(directory_of(group, 1), tmp_path / "one", 1)
    directory_of(group, 3).rename(tmp_path / "rank-3")
    with pytest.raises(StateError, match="group of 4, and 3 ranks are here"):
        move(group, tmp_path / "one", 1)
    directory_of(group, 1).rename(tmp_path / "rank-1")
    with pytest.raises(StateError, match=r"ranks \[0, 2\]"):
        move(group, tmp_path / "one", 1)


def test_partitions_that_nobody_can_share_are_refused(tmp_path: Path) -> None:
    """Fewer than ranks; unknown ones, until they are said."""
    group = make_group(tmp_path / "two", 2, 3, TASKS)
    with pytest.raises(StateError, match="3 partitions cannot be shared"):
        move(group, tmp_path / "four", 4)
    write(tmp_path / "gaps", checkpoint_of(positions={0: 1, 2: 1}), {})
    with pytest.raises(StateError, match="say --partitions P"):
        move(tmp_path / "gaps", tmp_path / "two-of-it", 2)
    move(tmp_path / "gaps", tmp_path / "two-of-it", 2, 3)
    assert [held.checkpoint.positions for held in read(tmp_path / "two-of-it")] == [{0: 1, 2: 1}, {}]


def test_another_partitioner_is_told(tmp_path: Path) -> None:
    """A task that is not where Kafka's partitioner puts it: its new rank is unknown, unless places say it."""
    group = make_group(tmp_path / "four", 4, 8, TASKS)
    (task, *_), rank = sorted(read(group)[0].rows), 1
    held = read(group)[rank]
    write(directory_of(group, rank), held.checkpoint, {"stray": row_of(1)} | {task + "'": row_of(1)})
    strays = [name for name in ("stray", task + "'") if partition_of(name.encode(), 8) % 4 != rank]
    assert strays
    with pytest.raises(StateError, match="another partitioner"):
        move(group, tmp_path / "three", 3)
    done = move(group, tmp_path / "two", 2)
    assert done.by_place
    assert memories(tmp_path / "two") == memories(group)


def test_a_task_with_two_ranks_is_refused(tmp_path: Path) -> None:
    """Its two memories cannot be one."""
    group = make_group(tmp_path / "two", 2, 4, TASKS)
    both = {task: row_of(7) for task in [*read(group)[0].rows][:1]}
    write(directory_of(group, 1), read(group)[1].checkpoint, both)
    with pytest.raises(StateError, match="is with two ranks"):
        move(group, tmp_path / "one", 1)
