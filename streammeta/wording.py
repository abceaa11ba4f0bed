"""Counts in words."""


def counted(count: int, noun: str) -> str:
    """The count with its noun.

    >>> counted(1, "event"), counted(1200, "record"), counted(0, "dead letter")
    ('1 event', '1,200 records', '0 dead letters')
    """
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
