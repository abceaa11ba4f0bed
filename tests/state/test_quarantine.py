"""The tasks that are held back: told why, bounded in number, part of the state."""

from dataclasses import replace

import pytest

from streammeta.errors import ConfigError, Reason
from streammeta.state.checkpoint import pack, unpack
from streammeta.state.quarantine import MOST_HELD, Held, Quarantine
from tests.states import checkpoint_of


def test_a_refusal_says_why_and_what_to_do() -> None:
    """Since when, the norm, the limit and the command; a task that is released is not refused."""
    quarantine = Quarantine(50.0)
    assert quarantine.refusal("a\n1") is None
    quarantine.add("a\n1", Held(1234, 5e6))
    refusal = quarantine.refusal("a\n1")
    assert refusal is not None
    assert (refusal.reason, refusal.stage) == (Reason.QUARANTINED, "step")
    for said in ("'a\\n1'", "event 1,234", "5e+06", "events.memory_norm_limit = 50", "tasks release"):
        assert said in str(refusal)
    assert quarantine.refusal("b") is None
    quarantine.release("b")
    quarantine.release("a\n1")
    assert quarantine.refusal("a\n1") is None


def test_too_many_are_a_fault_of_the_limit() -> None:
    """The list stays bounded, and so does the state."""
    quarantine = Quarantine(50.0, {str(number): Held(number, 60.0) for number in range(MOST_HELD)})
    with pytest.raises(ConfigError, match=r"events\.memory_norm_limit = 50.*raise the limit"):
        quarantine.add("one more", Held(1, 60.0))
    assert len(quarantine) == MOST_HELD


def test_it_is_part_of_the_state() -> None:
    """Event and norm come back, to the last bit; a state of an earlier version has none."""
    held = {"ünï\0": Held(7, 0.1 + 0.2)}
    assert unpack(pack(replace(checkpoint_of(), quarantine=held))).quarantine == held
    assert unpack(pack(checkpoint_of())).quarantine == {}
