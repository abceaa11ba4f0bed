"""What every `Group` promises.

To enrol, subclass `GroupContract` in a test module with a fixture `meet`: a callable that takes a number of
ranks and what each does in a thread of its own with its `Group`, and returns what each returned, by rank.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from streammeta.distributed.group import Group

Meet = Callable[[int, Callable[[Group], Any]], list[Any]]


def patient(_missing: Sequence[int]) -> None:
    """Wait on."""


class Enough(Exception):
    """Ends a wait."""


def in_threads(groups: Sequence[Callable[[], Group]], do: Callable[[Group], Any]) -> list[Any]:
    """What each rank returns, in threads; an error of one is raised."""
    results: list[Any] = [None] * len(groups)

    def live(rank: int) -> None:
        group = groups[rank]()
        try:
            results[rank] = do(group)
        finally:
            group.close()

    side_by_side(len(groups), live)
    return results


def side_by_side(ranks: int, live: Callable[[int], None]) -> None:
    """Each rank in a thread of its own, to its end; an error of one is raised."""
    errors: list[BaseException] = []

    def watched(rank: int) -> None:
        try:
            live(rank)
        except BaseException as error:  # noqa: BLE001 (raised again below, in the test's thread)
            errors.append(error)

    threads = [threading.Thread(target=watched, args=(rank,)) for rank in range(ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a rank waits for ever"
    if errors:
        raise errors[0]


class GroupContract:
    """The suite. Its tests use nothing but the protocol."""

    def test_every_rank_hears_all_words_by_rank(self, meet: Meet) -> None:
        """Whoever comes last; and again under other labels."""

        def talk(group: Group) -> list[list[bytes]]:
            time.sleep(0.05 * (group.world - group.rank))  # ranks come apart
            return [group.gather(f"{n}", b"%d of rank %d" % (n, group.rank), patient) for n in range(3)]

        expected = [[b"%d of rank %d" % (n, rank) for rank in range(3)] for n in range(3)]
        assert meet(3, talk) == [expected] * 3

    def test_begun_tells_that_somebody_waits(self, meet: Meet) -> None:
        """Before a word is said it is false, afterwards true, for all."""

        def look(group: Group) -> bool:
            before = group.begun("round/1")
            group.gather("looked", b"", patient)
            if group.rank == 0:
                group.gather("round/1", b"", patient)
                return before
            while not group.begun("round/1"):
                time.sleep(0.01)
            group.gather("round/1", b"", patient)
            return before

        assert meet(2, look) == [False, False]

    def test_a_wait_can_be_ended(self, meet: Meet) -> None:
        """Who waits is told for whom, and leaves when asked to."""

        def wait(group: Group) -> Sequence[int]:
            asked: list[Sequence[int]] = []

            def leave(missing: Sequence[int]) -> None:
                asked.append(missing)
                raise Enough

            if group.rank == 1:
                group.gather("over", b"", patient)
                return []
            with pytest.raises(Enough):
                group.gather("never", b"", leave)
            group.gather("over", b"", patient)
            return asked[0]

        assert meet(2, wait) == [[1], []]

    def test_a_mean_is_the_weighted_sum_and_the_same_bits_for_all(self, meet: Meet) -> None:
        """Of uneven numbers, in float32 and float64; a share of 0 counts for nothing."""
        shares = [0.2, 0.0, 0.8]
        parts = [torch.randn(1761, generator=torch.Generator().manual_seed(rank)) for rank in range(3)]

        def average(group: Group) -> list[torch.Tensor]:
            own = parts[group.rank]
            return [
                group.mean(own.to(dtype), shares[group.rank], patient)
                for dtype in (torch.float32, torch.float64)
            ]

        found = meet(3, average)
        for number, dtype in enumerate((torch.float32, torch.float64)):
            expected = sum(
                (share * part.to(dtype) for share, part in zip(shares, parts, strict=True)), torch.zeros(())
            )
            for means in found:
                torch.testing.assert_close(means[number], expected.to(dtype), rtol=1e-6, atol=1e-7)
                assert torch.equal(means[number], found[0][number])

    def test_what_is_averaged_stays_as_it_was(self, meet: Meet) -> None:
        """The numbers handed in are not written to; one rank alone gets them back, bit for bit."""

        def average(group: Group) -> bool:
            own = torch.tensor([1.1, -0.0, 3e-40])
            mean = group.mean(own, 1.0, patient)
            return own.numpy().tobytes() == mean.numpy().tobytes()

        assert meet(1, average) == [True]

    @pytest.mark.parametrize("content", [b"", b"\x00\xff", bytes(range(256)) * 300])
    def test_one_rank_gives_to_all(self, meet: Meet, content: bytes) -> None:
        """Any bytes, also none, from a rank that is not the first."""
        given = [b"not this", content, b"nor this"]
        assert meet(3, lambda group: group.spread(given[group.rank], 1, patient)) == [content] * 3
