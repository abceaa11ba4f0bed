"""Aims: bounds on rows that the suites really give."""

from streammeta.benchmarks.aims import judged
from streammeta.benchmarks.hops import AROUND
from streammeta.benchmarks.rows import Row, absent


def test_an_aim_is_met_from_its_bound_on() -> None:
    """At most 45: 45 is met, 90 is half of it; what is absent is neither."""
    for value, share in ((45.0, 1.0), (90.0, 0.5), (30.0, 1.5)):
        (found,) = judged([("hops", Row(AROUND, value, "µs"))])
        assert (found.measured, found.share) == (value, share)
    (found,) = judged([("hops", absent(AROUND, "µs", "no broker"))])
    assert (found.measured, found.share) == (None, None)


def test_aims_of_suites_that_did_not_run_are_not_judged() -> None:
    """Only what was asked for is told."""
    assert judged([("recording", Row("a", 1.0, "B"))]) == []


def test_of_several_rows_the_last_is_meant() -> None:
    """The larger state; a bound from below is met by more."""
    rows = [
        ("start", Row("1,000 tasks, first event learned", 1.0, "s")),
        ("start", Row("1,000,000 tasks, first event learned", 6.0, "s")),
        ("pipeline", Row("kafka-python + NumPy, by hand / streammeta run", 6.0, "ratio")),
    ]
    shares = {found.aim.figure: found.share for found in judged(rows) if found.share}
    assert shares == {
        "* tasks, first event learned": 0.5,
        "kafka-python + NumPy, by hand / streammeta run": 2.0,
    }
