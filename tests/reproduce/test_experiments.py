"""The other experiments, run short: each must show the fact that it is there for."""

from pathlib import Path

import numpy as np
import pytest
import torch

from streammeta.algorithms.outer import sgd
from streammeta.datasets.omniglot import Drawings
from streammeta.errors import StreammetaError
from streammeta.reproduce import omniglot as omniglot_
from streammeta.reproduce.few_shot import learned
from streammeta.reproduce.learners import LEARNERS
from streammeta.reproduce.memory import memory
from streammeta.reproduce.mnist1d import mnist1d, network, stream
from streammeta.reproduce.mnist1d_data import conv1d, digits
from streammeta.reproduce.quadratic import quadratic
from streammeta.reproduce.report import Report
from streammeta.reproduce.steps import steps
from tests.reproduce.quiet import quiet


def figures(report: Report, which: int = 0) -> dict[tuple[str, str], float]:
    """(method, setting) -> that measure's mean."""
    return {(row.method, row.setting): row.measured[which].mean for row in report.rows}


def test_quadratic_shows_the_orders_the_floors_and_the_stall() -> None:
    """Chapter 2, facts 2 to 4: orders 1 and 2 in ν; two floors; SNGDM falls where the other stalls."""
    found = figures(quadratic(quiet, nus=(0.04, 0.02), lengths=(400, 6400), seeds=2))
    for about in ("the error", "‖∇F‖ at rest"):
        assert found["forward", f"order in ν of {about}"] == pytest.approx(1, abs=0.06)
        assert found["symmetric", f"order in ν of {about}"] == pytest.approx(2, abs=0.06)
    assert found["symmetric", "‖∇F‖ at rest, ν = 0.02"] < 0.1 * found["forward", "‖∇F‖ at rest, ν = 0.02"]
    for stalled in ("fo_maml", "reptile"):
        assert found[stalled, "‖∇F‖ at rest"] > 10 * found["forward", "‖∇F‖ at rest, ν = 0.02"]
    ends = {
        name: [found[name, f"‖∇F‖, one task a step, T = {length}"] for length in ("400", "6,400")]
        for name in ("normalized", "sngdm")
    }
    assert ends["sngdm"][1] < 0.65 * ends["sngdm"][0]
    assert ends["normalized"][1] > 0.75 * ends["normalized"][0]
    assert ends["sngdm"][1] < 0.8 * ends["normalized"][1]


def test_steps_shows_that_alpha_must_fall_with_n() -> None:
    """Chapter 3: at N = 5 a fixed α runs away, α/N in no seed, and C_L tells why."""
    report = steps(quiet, inner_steps=(1, 5), seeds=2, iterations=120)
    loss, lost, weight = (figures(report, which) for which in range(3))
    assert lost["α fixed", "N = 5"] >= 1
    assert lost["α 1/N", "N = 5"] == lost["α fixed", "N = 1"] == 0
    assert loss["α 1/N", "N = 5"] < loss["α 1/N", "N = 1"]
    assert weight["α fixed", "N = 5"] > 10 * weight["α 1/N", "N = 5"]


def test_memory_shows_who_keeps_the_history() -> None:
    """Facts 2.6 and 4.3: bytes grow with every step of MAML, with none where no history is kept."""
    flat = ("fo_b_maml", "imaml", "memory_reduced", "fo_maml")
    report = memory(quiet, methods=("maml", *flat), steps=(2, 4, 8), channels=(10, 40))
    least, most, further, wide = (
        {row.method: row.measured[which].mean for row in report.rows} for which in range(4)
    )
    assert further["maml"] > 100
    assert most["maml"] > 2 * least["maml"]
    for name in flat:
        assert further[name] == 0
        assert most[name] < 1.05 * least[name]
        assert wide[name] < 0.6 * wide["maml"]


class TestMnist1d:
    """The recipe, the tasks, and a short run."""

    def test_digits_are_standardised_seeded_and_told_apart_by_their_shape(self) -> None:
        """Mean 0, deviation 1, forty points; another seed draws others; digits move and scale."""
        x, y = digits(50, seed=1)
        assert x.shape == (500, 40)
        assert y.tolist() == [d for d in range(10) for _ in range(50)]
        assert abs(x.mean()) < 1e-5
        assert x.std() == pytest.approx(1, abs=1e-4)
        assert np.array_equal(x, digits(50, seed=1).x)
        assert not np.array_equal(x, digits(50, seed=2).x)
        assert x[y == 4].std(0).min() > 0.3  # moved and scaled

    def test_the_recipes_network_learns_the_digits(self) -> None:
        """Plain training tells ten digits of unseen examples apart far better than chance."""
        (x, y), (test_x, test_y) = digits(100, seed=3), digits(30, seed=4)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            module = conv1d(25)
        optimiser = torch.optim.Adam(module.parameters(), lr=0.01)
        inputs, targets = torch.from_numpy(x)[:, None], torch.from_numpy(y)
        for _ in range(60):
            optimiser.zero_grad()
            loss = torch.nn.functional.cross_entropy(module(inputs), targets)
            loss.backward()  # type: ignore[no-untyped-call]  # torch has no types here
            optimiser.step()
        right = module(torch.from_numpy(test_x)[:, None]).argmax(1) == torch.from_numpy(test_y)
        assert right.double().mean().item() > 0.4

    def test_a_task_names_its_digits_in_its_own_way(self) -> None:
        """Five digits; the same again when the task comes again; support and query share no example."""
        train = digits(20, seed=5)
        events = stream(train, 3, seed=0)
        of_task: dict[str, set[tuple[int, ...]]] = {}
        for _ in range(20):
            task, episode = next(events)
            rows = {row.tobytes(): digit for row, digit in zip(train.x, train.y, strict=True)}
            classes = [rows[example.tobytes()] for example in episode.support.x[:, 0]]
            assert len(set(classes)) == 5
            of_task.setdefault(task, set()).add(tuple(classes))
            both = {example.tobytes() for batch in episode for example in batch.x[:, 0]}
            assert len(both) == 100
        assert {task: len(orders) for task, orders in of_task.items()} == dict.fromkeys("012", 1)
        assert len(set.union(*of_task.values())) == 3

    def test_a_short_run_adapts_better_than_chance(self) -> None:
        """Before adaptation nothing can tell the labels; after it the learner does."""
        (row,) = mnist1d(quiet, methods=("fo_maml",), events=120, episodes=30).rows
        after, before, mib = row.measured
        assert abs(before.mean - 0.2) < 0.06
        assert after.mean - (after.spread or 0) > 0.25
        assert mib.mean > 0.1


def test_a_run_that_is_not_finite_ends_with_the_remedy() -> None:
    """It names the event."""
    net = network(4, 0)
    learner = LEARNERS["fo_maml"](net, sgd(), 1.0, 1e30, 1)
    with pytest.raises(StreammetaError, match=r"event \d+ is not finite; take a smaller rate"):
        learned(net, learner, stream(digits(20, 0), 3, 0), 20, lambda _done, _all: None)


def test_omniglot_learns_from_one_split_and_is_scored_on_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """On drawings that a few pixels tell apart; the published figures stand beside."""
    random, loaded = np.random.default_rng(0), []

    def drawings(data: Path | None, split: str) -> Drawings:
        loaded.append((data, split))
        shapes = random.random((10, 28, 28)) < 0.3
        images = shapes[:, None] ^ (random.random((10, 12, 28, 28)) < 0.02)
        return Drawings(images.astype(np.uint8), ("Abc",) * 10)

    monkeypatch.setattr(omniglot_, "load_drawings", drawings)
    report = omniglot_.omniglot(
        quiet, data=Path("f"), methods=("maml",), shots=(1,), events=30, episodes=10, channels=4
    )
    assert loaded == [(Path("f"), "background"), (Path("f"), "evaluation")]
    after, before = figures(report), figures(report, 1)
    assert all(after[key] > before[key] + 0.2 for key in after)
    assert [row.published for row in report.rows] == [omniglot_.PUBLISHED["maml", 1]]
