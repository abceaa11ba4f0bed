"""Which event a record carries, by its CloudEvents headers."""

from streammeta.codec import event_id
from streammeta.events import Record


def identity_of(*headers: tuple[str, bytes | None]) -> bytes:
    """Of a record with these headers."""
    return event_id(Record("tasks", 0, 0, 0, b"task", b"", headers))


def test_source_and_id_make_the_identity() -> None:
    """Equal in both means the same event; other headers mean nothing, nor does the case of their names."""
    plain = identity_of(("ce_id", b"1"))
    assert len(plain) == 16
    assert identity_of(("CE_ID", b"1"), ("content-type", b"x")) == plain
    with_source = identity_of(("ce_source", b"a"), ("ce_id", b"1"))
    assert identity_of(("ce_id", b"1"), ("ce_source", b"a")) == with_source
    others = [
        plain,
        with_source,
        identity_of(("ce_id", b"2")),
        identity_of(("ce_source", b"b"), ("ce_id", b"1")),
    ]
    assert len(set(others)) == 4


def test_source_and_id_are_told_apart() -> None:
    """What ends the one does not begin the other."""
    assert identity_of(("ce_source", b"a1"), ("ce_id", b"1")) != identity_of(
        ("ce_source", b"a"), ("ce_id", b"11")
    )


def test_no_id_is_no_identity() -> None:
    """Absent, null or empty; a header name that is no text does not disturb."""
    assert identity_of() == identity_of(("ce_id", None)) == identity_of(("ce_id", b"")) == b""
    assert identity_of(("\udcff", b"1"), ("ce_source", b"a")) == b""
