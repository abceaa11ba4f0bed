"""N-way K-shot events from drawings that carry their own number."""

import math
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from streammeta.datasets.omniglot import Drawings, Ways, omniglot, tasks_of
from streammeta.datasets.omniglot_data import load_drawings
from streammeta.errors import ConfigError
from streammeta.events import Array, Batch
from tests.datasets.compare import first

DATA = Path(__file__).parents[3] / "shared" / "data" / "omniglot28.npz"
ALPHABETS = ("Greek",) * 7 + ("Latin",) * 6 + ("Ogham",) * 2


@pytest.fixture
def drawings() -> Drawings:
    """15 characters of 20 drawings; the first two pixels say which character and which drawing."""
    images = np.zeros((15, 20, 28, 28), np.uint8)
    images[:, :, 0, 0] = np.arange(15)[:, None]
    images[:, :, 0, 1] = np.arange(20)
    return Drawings(images, ALPHABETS)


def numbers(batch: Batch[Array]) -> list[tuple[int, int, int]]:
    """Label, character and drawing of each example."""
    return [(int(y), int(x[0, 0, 0]), int(x[0, 0, 1])) for x, y in zip(batch.x, batch.y, strict=True)]


def test_tasks_are_groups_of_one_alphabet(drawings: Drawings) -> None:
    """Each alphabet is cut in its order; a rest that is too small belongs to no task."""
    groups = {name: list(characters) for name, characters in tasks_of(drawings, 3).items()}
    assert groups == {
        "Greek/0": [0, 1, 2],
        "Greek/1": [3, 4, 5],
        "Latin/0": [7, 8, 9],
        "Latin/1": [10, 11, 12],
    }


def test_an_event_has_shots_and_query_of_every_class(drawings: Drawings) -> None:
    """Labels name the task's characters in order, K + Q different drawings of each, none in both sets."""
    groups = tasks_of(drawings, 3)
    for task, (support, query) in islice(omniglot(drawings, Ways(ways=3, shots=2, query=4, seed=1)), 100):
        for batch, per_class in ((support, 2), (query, 4)):
            assert (batch.x.dtype.name, batch.x.shape) == ("uint8", (3 * per_class, 1, 28, 28))
            assert (batch.y.dtype.name, batch.y.shape) == ("int64", (3 * per_class,))
            assert Counter(batch.y.tolist()) == dict.fromkeys(range(3), per_class)
        seen = numbers(support) + numbers(query)
        assert all(groups[task][label] == character for label, character, _ in seen)
        assert len({(character, drawing) for _, character, drawing in seen}) == 3 * 6


def test_all_drawings_of_a_character_may_be_taken(drawings: Drawings) -> None:
    """K + Q = 20 uses each drawing once; every drawing gets into the support set at some time."""
    in_support = set()
    for _, (support, query) in islice(omniglot(drawings, Ways(ways=5, shots=5, query=15)), 60):
        assert len({(c, d) for _, c, d in numbers(support) + numbers(query)}) == 5 * 20
        in_support |= {drawing for _, _, drawing in numbers(support)}
    assert in_support == set(range(20))


def test_tasks_come_uniformly(drawings: Drawings) -> None:
    """2,000 draws of 4 tasks: each within five standard deviations of 500."""
    events = omniglot(drawings, Ways(ways=3, shots=1, query=1))
    counts = Counter(task for task, _ in islice(events, 2_000))
    assert len(counts) == 4
    assert max(abs(count - 500) for count in counts.values()) < 5 * math.sqrt(375)


def test_a_stream_can_be_entered_anywhere(drawings: Drawings) -> None:
    """Event n is the same from any start; another seed gives another stream."""
    asked = Ways(ways=3, shots=1, query=1, seed=9)
    assert first(5, omniglot(drawings, asked, start=30)) == first(35, omniglot(drawings, asked))[30:]
    other = Ways(ways=3, shots=1, query=1, seed=10)
    assert first(5, omniglot(drawings, asked)) != first(5, omniglot(drawings, other))


@pytest.mark.parametrize(
    ("settings", "named"),
    [(Ways(ways=8), "--ways 8"), (Ways(ways=3, shots=6, query=15), "--shots 6 --query 15")],
)
def test_too_much_is_refused_at_once(drawings: Drawings, settings: Ways, named: str) -> None:
    """More characters than an alphabet has, or drawings than a character, are named at once."""
    with pytest.raises(ConfigError, match=named):
        omniglot(drawings, settings)


@pytest.mark.parametrize(("split", "characters"), [("background", 964), ("evaluation", 659)])
def test_the_real_drawings(split: str, characters: int) -> None:
    """All characters of the data set, 20 drawings each, ink and paper, every event of the right shape."""
    if not DATA.exists():
        pytest.skip("no omniglot28.npz beside the repository (../shared/data)")
    real = load_drawings(DATA, "background" if split == "background" else "evaluation")
    assert real.images.shape == (characters, 20, 28, 28)
    assert np.unique(real.images).tolist() == [0, 1]
    assert 0.05 < real.images.mean() < 0.3
    task, (support, query) = next(omniglot(real, Ways()))
    assert task.rpartition("/")[0] in real.alphabets
    assert support.x.shape == query.x.shape == (25, 1, 28, 28)
