"""Marks of what is tried outlive a process that is killed, and one that could not begin."""

from contextlib import closing
from pathlib import Path

from streammeta.events import Passed, Record
from streammeta.state.trials import Trials

RECORD = Record("tasks", 2, 7, 0, b"a", b"value")


def died(path: Path) -> None:
    """A process tries the record, and is killed."""
    trials = Trials(path)
    trials.begin_life()
    trials.learning([RECORD])


def test_a_start_that_fails_keeps_the_marks(tmp_path: Path) -> None:
    """Broker away, disk full: such a process tried nothing, and must not make the one before forgotten."""
    path = tmp_path / "trials"
    for deaths in (1, 2):
        died(path)
        with closing(Trials(path)) as trials:
            assert len(trials.condemned) == deaths - 1
    with closing(Trials(path)) as trials:
        assert trials.condemned == (Passed(2, 7, stage="step", died=True),)


def test_a_life_that_ends_leaves_no_mark(tmp_path: Path) -> None:
    """It was not killed while it tried."""
    path = tmp_path / "trials"
    died(path)
    with closing(Trials(path)) as trials:
        trials.begin_life()
        trials.learning([RECORD])
    with closing(Trials(path)) as trials:
        assert trials.condemned == ()
