"""Which records change a task, and which only look so."""

import pytest

from streammeta.codec import CONTROL, RELEASE, RESET, change_of
from streammeta.errors import BadEvent, Reason
from streammeta.events import Change, Flaw, Forget, Record, Release, Reset

EPISODE = Record("t", 0, 0, 0, b"a", b"{}", (("content-type", b"application/json"),))


@pytest.mark.parametrize(
    ("value", "headers", "expected"),
    [
        (None, (), Forget("a")),
        (None, ((CONTROL, RESET),), Forget("a")),
        (b"", ((CONTROL, RESET),), Reset("a")),
        (b"{}", (("x", None), (CONTROL, RELEASE), (CONTROL, RESET)), Release("a")),
        (b"", (), None),
        (b"null", (("Streammeta.Control", RESET),), None),
    ],
)
def test_by_value_then_by_header(
    value: bytes | None, headers: tuple[tuple[str, bytes | None], ...], expected: Change | None
) -> None:
    """Only what has no value is a tombstone, whatever its headers; an empty value is one that is refused."""
    assert change_of(EPISODE._replace(value=value, headers=headers)) == expected


def test_where_tombstones_are_refused() -> None:
    """They are left to whoever decodes; the other changes are known all the same."""
    assert change_of(EPISODE._replace(value=None, headers=()), tombstones=False) is None
    asked = EPISODE._replace(headers=((CONTROL, RESET),))
    assert change_of(asked, tombstones=False) == Reset("a")


def test_content_that_could_not_be_read_is_no_tombstone() -> None:
    """Such a record has no value here, and may have one on the broker: its task must not be forgotten."""
    flaw = Flaw("too_large", "its batch is too large", 1)
    assert change_of(EPISODE._replace(value=None, headers=(), flaw=flaw)) is None


@pytest.mark.parametrize("stage", ["decode", "step"])
@pytest.mark.parametrize(("value", "headers"), [(None, ()), (b"{}", ((CONTROL, RELEASE),))])
def test_a_change_that_killed_is_refused(
    stage: str, value: bytes | None, headers: tuple[tuple[str, bytes | None], ...]
) -> None:
    """Two processes died of it: a third must not try it again."""
    flaw = Flaw("bad_tensor", "two processes died", 1, "decode" if stage == "decode" else "step")
    with pytest.raises(BadEvent, match="two processes died") as refused:
        change_of(EPISODE._replace(value=value, headers=headers, flaw=flaw))
    assert (refused.value.reason, refused.value.stage) == (Reason.BAD_TENSOR, stage)


@pytest.mark.parametrize(
    ("key", "content", "reason"),
    [
        (None, RESET, Reason.MISSING_TASK_ID),
        (b"", RESET, Reason.BAD_TASK_ID),
        (b"\xff", RESET, Reason.BAD_TASK_ID),
        (b"a", b"explode", Reason.UNDECODABLE),
        (b"a", None, Reason.UNDECODABLE),
    ],
)
def test_what_names_no_task_or_no_change(key: bytes | None, content: bytes | None, reason: Reason) -> None:
    """Refused by its reason; what could be asked is told."""
    with pytest.raises(BadEvent) as refused:
        change_of(EPISODE._replace(key=key, headers=((CONTROL, content),)))
    assert refused.value.reason == reason
    if reason == Reason.UNDECODABLE:
        assert "use one of release, reset" in str(refused.value)
