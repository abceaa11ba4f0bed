"""A group served as one: answers from the rank that knows the task, and a page of all tasks."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest

from streammeta.distributed.homes import homes_in
from streammeta.errors import NoAnswer
from streammeta.programs.serving import Follower, Served, followed
from streammeta.runtime.predicting import predictor_for
from streammeta.serving.asking import Ask
from streammeta.serving.commits import Commits
from streammeta.serving.desk import Desk
from streammeta.state.directory import StateDirectory
from streammeta.state.followed import FollowedStore
from tests.distributed.groups import move, read
from tests.serving.states import Asked, asked
from tests.web.test_predictions import network

X = np.array([[0.5], [-1.0]], np.float32)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    """A state of twelve tasks."""
    return asked(tmp_path_factory.mktemp("served"), 12)


@pytest.fixture(scope="module")
def group(learned: Asked, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as three ranks."""
    target = tmp_path_factory.mktemp("group") / "three"
    move(learned.path, target, 3, 6)
    return target


def stores_of(stack: ExitStack, base: Path) -> list[FollowedStore]:
    """Of all ranks."""
    return [
        stack.enter_context(closing(FollowedStore(StateDirectory(home).lmdb_path))) for home in homes_in(base)
    ]


def desk_of(learned: Asked, stores: Sequence[FollowedStore]) -> Desk:
    """One that answers from them."""
    predictor = predictor_for(learned.config, network(learned.config))
    return Desk([Commits(store) for store in stores], predictor, lambda: 0.0, 100_000)


@pytest.fixture
def desks(learned: Asked, group: Path) -> Iterator[tuple[Desk, Desk]]:
    """Of the single state, and of the group."""
    with ExitStack() as stack:
        yield (
            desk_of(learned, stores_of(stack, learned.path)),
            desk_of(learned, stores_of(stack, group)),
        )


def test_many_at_once(learned: Asked, desks: tuple[Desk, Desk]) -> None:
    """In the order of what was asked, with the numbers that the single state gives; unknown tasks too."""
    asks = [Ask(task, X) for task in (*learned.names, "nobody")]
    one, three = (desk.answer(asks).answers for desk in desks)
    for single, grouped in zip(one, three, strict=True):
        assert (single.task, single.at, single.known) == (grouped.task, grouped.at, grouped.known)
        np.testing.assert_array_equal(single.y, grouped.y)
    assert {answer.at for answer in three} == {"memory", "adapted", "meta"}


def test_a_refusal_names_what_was_asked(learned: Asked, desks: tuple[Desk, Desk]) -> None:
    """Its number is the place among all that were asked together, whichever rank refused it."""
    for place in range(len(learned.names)):
        asks = [Ask(task, X) for task in learned.names]
        asks[place] = Ask(learned.names[place], np.zeros((1, 3), np.float32))
        for desk in desks:
            with pytest.raises(NoAnswer) as refusal:
                desk.answer(asks)
            assert refusal.value.number == place


def test_the_page_shows_all_tasks(learned: Asked, group: Path) -> None:
    """The events of all ranks, and every task."""
    checkpoint, *others = (held.checkpoint for held in read(group))
    events = sum(each.progress.events for each in (checkpoint, *others))
    with ExitStack() as stack:
        store = followed(group, stores_of(stack, group))
        network_of, origin = network(learned.config), checkpoint.origin
        follower = Follower(store, Served(group, learned.config, network_of, origin, "127.0.0.1", 0))
        follower.look()
        assert follower.status.snapshot()["events"] == events
        assert all(follower.stored(task) is not None for task in learned.names)
