r"""Text from outside as a terminal may show it: what would steer it, or hide something, is escaped.

Escape sequences can rewrite what was printed before, name a window, or paste into a shell; marks of writing
direction can show a text in another order than it has. All that is not printable in Unicode counts as such.
"""


def quoted(text: str) -> str:
    r"""The text with its lines as they are, and all else that is not printable escaped.

    >>> print(quoted("one\ntwo \x1b[2J \u202e three"))
    one
    two \x1b[2J \u202e three
    """
    return text if text.isprintable() else "\n".join(map(quoted_line, text.split("\n")))


def quoted_line(text: str) -> str:
    r"""The same on one line.

    >>> quoted_line("one\ntwo")
    'one\\ntwo'
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def quoted_json(text: str) -> str:
    r"""The same of JSON on one line; it stays what it means.

    >>> quoted_json('"\x9b\U000e0001"')
    '"\\u009b\\udb40\\udc01"'
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else _units(c) for c in text)


def quoted_bytes(encoded: bytes) -> bytes:
    r"""The same of JSON as an encoder gave it.

    >>> quoted_bytes(b'"\xc2\x9b"')
    b'"\\u009b"'
    """
    plain = encoded.isascii() and b"\x7f" not in encoded
    return encoded if plain else quoted_json(encoded.decode()).encode()


def _units(character: str) -> str:
    """As JSON writes it: UTF-16, four digits a unit."""
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[place : place + 2].hex()}" for place in range(0, len(units), 2))
