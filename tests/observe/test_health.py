"""Liveness and readiness, on a clock that the test moves."""

import pytest

from streammeta.observe.health import Health
from streammeta.outcomes import Executing
from tests.observe.outcomes import Clock, checkpointed, learned, turned


def test_starts_live_but_not_ready() -> None:
    """Before the first turn there are 60 s of grace, and a reason why nothing is learned yet."""
    clock = Clock()
    health = Health(clock)
    clock.seconds += 60
    assert health.live()[0]
    assert health.ready() == (False, "starting: the source has not been read yet")
    clock.seconds += 1
    alive, reason = health.live()
    assert not alive
    assert "61 s" in reason


@pytest.mark.parametrize("sign", [learned(), checkpointed(), turned()])
def test_any_outcome_is_a_sign_of_life(sign: object) -> None:
    """A loop that handles anything at all is not stuck."""
    clock = Clock()
    health = Health(clock)
    clock.seconds += 100
    assert not health.live()[0]
    health(sign)  # type: ignore[arg-type]  # parametrize loses the type
    assert health.live()[0]


def test_a_turn_is_none_while_something_is_due() -> None:
    """Records that can be read, or a letter that nobody acknowledges: a loop that only turns is stuck."""
    clock = Clock()
    health = Health(clock)
    for _ in range(61):
        clock.seconds += 1
        health(turned(due=True))
    assert health.live() == (False, "stuck: something is due, and nothing has moved for 61 s (limit 60 s)")
    health(learned())
    assert health.live()[0]


def test_refused_and_throttled_are_told_apart() -> None:
    """A refused login is not ready, with the broker's words; a quota slows, and is said."""
    health = Health(Clock())
    health(turned(service="refused", cause="wrong password"))
    assert health.ready() == (False, "refused: wrong password")
    health(turned(service="throttled", cause="a quota"))
    assert health.ready() == (True, "ready, but slowed: a quota")


def test_a_beat_is_a_sign_of_life() -> None:
    """Long work without outcomes can say that it goes on."""
    clock = Clock()
    health = Health(clock)
    clock.seconds += 100
    health.beat()
    assert health.live() == (True, "live: last sign of life 0 s ago")


def test_ready_follows_the_source() -> None:
    """Not ready while restoring or without broker, each with its reason; ready otherwise."""
    health = Health(Clock())
    health(turned(restoring=True))
    assert (health.ready()[0], health.ready()[1].split(":")[0]) == (False, "restoring")
    health(turned(connected=False))
    assert (health.ready()[0], health.ready()[1].split(":")[0]) == (False, "no broker")
    health(turned())
    assert health.ready() == (True, "ready")


def test_a_step_in_the_making_is_no_hang() -> None:
    """Tracing or compiling may take many minutes, and is said; then the limit holds as before."""
    clock = Clock()
    health = Health(clock)
    health(Executing(0, 0, 0, 1, 0, 0.0, "compiling the step of float32[1,3,2]"))
    clock.seconds += 1100
    assert health.live() == (True, "live: compiling the step of float32[1,3,2] for 1100 s")
    clock.seconds += 101
    alive, why = health.live()
    assert not alive
    assert "limit 1200 s, compiling the step" in why
    health(learned())
    clock.seconds += 61
    assert health.live() == (False, "stuck: something is due, and nothing has moved for 61 s (limit 60 s)")
