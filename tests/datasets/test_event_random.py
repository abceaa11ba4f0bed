"""Random numbers of an event: its own, whatever the others draw."""

from itertools import islice

from streammeta.datasets.event_random import event_generators


def test_events_share_no_draw() -> None:
    """Neighbouring events draw from stretches that never meet: 20 x 1,000 numbers, none twice."""
    drawn = [random.integers(2**63, size=1000) for _, random in islice(event_generators(1), 20)]
    assert len({int(number) for numbers in drawn for number in numbers}) == 20_000


def test_an_event_does_not_feel_what_another_drew() -> None:
    """Whatever is drawn for one event, in any form, the next one draws the same."""
    lazy = [float(random.random()) for _, random in islice(event_generators(5, start=10**12), 3)]
    greedy = []
    for number, random in islice(event_generators(5, start=10**12), 3):
        greedy.append(float(random.random()))
        random.standard_normal(number % 97)
        random.integers(7, dtype="uint32")
    assert greedy == lazy
