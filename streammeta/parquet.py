"""What a Parquet file would take in memory, told from its pages before one of them is unpacked.

A page says how large it becomes, a dictionary how large a value may be that thousands of rows repeat; Arrow
believes both. Invariant: of a file that passes, `Extent.batch_rows` rows at a time take some hundred MB at
most (`PAGE_BYTES` for the page at hand, `BATCH_BYTES` for the rows) in each column that is read.
"""

from collections.abc import Collection
from typing import Any, BinaryIO, Final, NamedTuple

PAGE_BYTES: Final = 256 << 20
"""Most that one page may become: writers make pages of one MB, or of one value."""
BATCH_BYTES: Final = 256 << 20
NESTED_VALUES: Final = 1 << 24
"""Most values of a nested column in one row group, all lists together."""
_PAGES: Final = 100_000
"""Most pages of one column of a row group."""
_HEADER_BYTES: Final = (1 << 12, 1 << 20)
"""What is read of a page's header; the second where the first does not hold it."""
_TYPE, _UNPACKED, _PACKED = 1, 2, 3
_DICTIONARY_PAGE = 2
_ROW_GROUPS, _COLUMNS, _GROUP_ROWS, _COLUMN, _CRYPTO = 4, 1, 3, 3, 8
_FOOTER_BYTES = 16 << 20
_DEPTH = 16
_PREFIXED = {7}  # DELTA_BYTE_ARRAY


class Hostile(ValueError):
    """The file would take more memory than any that is written for us, or contradicts itself."""


class Extent(NamedTuple):
    """What was found.

    Attributes:
        rows: In the file.
        batch_rows: How many may be read at a time.
    """

    rows: int
    batch_rows: int


def examine(
    file: BinaryIO, size_bytes: int, metadata: Any, most_rows: int, columns: Collection[str] = ()
) -> Extent:
    """Look at all pages of these columns (none: of all).

    Args:
        file: The file's bytes.
        size_bytes: How many.
        metadata: As `pyarrow.parquet.ParquetFile.metadata`.
        most_rows: At most so many rows are wanted at a time.
        columns: Names of the top level.

    Raises:
        Hostile: names the column and what is wrong.
    """
    widest, rows = 1, 0
    for group in _groups(file, size_bytes):
        group_rows, found = group.get(_GROUP_ROWS), group.get(_COLUMNS)
        if not isinstance(group_rows, int) or group_rows < 0 or not isinstance(found, list):
            raise Hostile(f"a row group of {group_rows} rows")
        rows += group_rows
        if len(found) != metadata.num_columns:
            raise Hostile("a row group has other columns than the file")
        for one in found:
            column = _column(one)
            if columns and column.name.partition(".")[0] not in columns and column.name not in columns:
                continue
            _check_count(column, group_rows)
            widest = max(widest, _widest(file, size_bytes, column))
    if rows != metadata.num_rows:
        raise Hostile(f"{rows} rows in its groups, {metadata.num_rows} in all")
    return Extent(rows, max(1, min(most_rows, BATCH_BYTES // widest)))


class _Column(NamedTuple):
    """What the footer tells of a column of a row group. Arrow's own reading of it can end the process."""

    name: str
    encodings: list[int]
    values: int
    packed_bytes: int
    data_at: int
    dictionary_at: int


def _groups(file: BinaryIO, size_bytes: int) -> list[dict[int, Any]]:
    """The row groups, as the footer tells of them."""
    file.seek(max(0, size_bytes - 8))
    length = int.from_bytes(file.read(4), "little")
    if length > min(size_bytes, _FOOTER_BYTES):
        raise Hostile(f"a footer of {length} bytes; at most {_FOOTER_BYTES} are read")
    file.seek(max(0, size_bytes - 8 - length))
    try:
        footer, _ = _struct(file.read(length), 0, 0)
    except (IndexError, ValueError, RecursionError) as error:
        raise Hostile(f"the footer is damaged: {error}") from error
    groups = footer.get(_ROW_GROUPS, [])
    if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
        raise Hostile("the footer is damaged")
    return groups


def _column(told: Any) -> _Column:
    known = told.get(_COLUMN) if isinstance(told, dict) else None
    if not isinstance(known, dict) or _CRYPTO in told:
        raise Hostile("a row group does not tell of its columns")
    path, encodings = known.get(3), known.get(2)
    numbers = [known.get(5), known.get(7), known.get(9), known.get(11, 0)]
    if not (
        isinstance(path, list)
        and all(isinstance(step, bytes) for step in path)
        and isinstance(encodings, list)
        and all(isinstance(number, int) for number in (*encodings, *numbers))
    ):
        raise Hostile("a row group does not tell of its columns")
    name = ".".join(step.decode("utf-8", "replace") for step in path)
    return _Column(name, encodings, *numbers)


def _check_count(column: _Column, rows: int) -> None:
    nested = "." in column.name
    if column.values < 0 or (not nested and column.values != rows):
        raise Hostile(f"column {column.name}: {column.values} values in {rows} rows")
    if nested and column.values > NESTED_VALUES:
        raise Hostile(f"column {column.name}: {column.values} values; at most {NESTED_VALUES} are read")


def _widest(file: BinaryIO, size_bytes: int, column: _Column) -> int:
    """The most bytes that one value of the column may be without taking them from its page."""
    name, begin = column.name, column.data_at
    if 0 < column.dictionary_at < begin:
        begin = column.dictionary_at
    end = begin + column.packed_bytes
    if not 0 < begin <= end <= size_bytes:
        raise Hostile(f"column {name}: its pages lie outside of the file")
    prefixed = bool(_PREFIXED & set(column.encodings))
    widest, pages = 1, 0
    while begin < end:
        page, header_bytes = _page(file, begin, name)
        unpacked, packed = page.get(_UNPACKED, -1), page.get(_PACKED, -1)
        if not (isinstance(packed, int) and isinstance(unpacked, int)):
            raise Hostile(f"column {name}: the header of a page is damaged")
        if packed < 0 or not 0 <= unpacked <= PAGE_BYTES:
            raise Hostile(f"column {name}: a page of {unpacked} bytes; at most {PAGE_BYTES} are read")
        if prefixed or page.get(_TYPE) == _DICTIONARY_PAGE:
            widest = max(widest, unpacked)
        begin += header_bytes + packed
        pages += 1
        if pages > _PAGES:
            raise Hostile(f"column {name}: more than {_PAGES} pages in a row group")
    return widest


def _page(file: BinaryIO, begin: int, name: str) -> tuple[dict[int, Any], int]:
    """The fields of the page's header, and the length of the header."""
    for most_bytes in _HEADER_BYTES:
        file.seek(begin)
        content = file.read(most_bytes)
        try:
            return _struct(content, 0, 0)
        except IndexError:
            continue
        except ValueError as error:
            raise Hostile(f"column {name}: the header of a page is damaged: {error}") from error
    raise Hostile(f"column {name}: the header of a page is damaged")


def _struct(content: bytes, at: int, depth: int) -> tuple[dict[int, Any], int]:
    """A struct of Thrift's compact protocol: numbers, structs and lists, and where it ends.

    Raises:
        IndexError, ValueError: it is not whole, or none.
    """
    if depth > _DEPTH:
        raise ValueError("it is nested too deep")
    numbers: dict[int, Any] = {}
    field = 0
    while kind := content[at] & 15:
        step = content[at] >> 4
        at += 1
        if step:
            field += step
        else:
            field, at = _signed(content, at)
        value, at = _value(content, at, kind, depth)
        if value is not None:
            numbers[field] = value
    return numbers, at + 1


def _value(content: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    """A value of the kind, None where it is neither number nor struct nor list, and where it ends."""
    if kind in (1, 2):  # true, false: in the kind itself
        return None, at
    if kind == 3:
        return content[at], at + 1
    if kind in (4, 5, 6):
        return _signed(content, at)
    if kind == 7:
        return None, at + 8
    if kind == 8:
        length, at = _unsigned(content, at)
        if at + length > len(content):
            raise IndexError
        return content[at : at + length], at + length
    if kind == 12:
        return _struct(content, at, depth + 1)
    if kind in (9, 10):
        return _list(content, at, depth + 1)
    raise ValueError(f"a field of kind {kind}")


def _list(content: bytes, at: int, depth: int) -> tuple[list[Any], int]:
    count, kind = content[at] >> 4, content[at] & 15
    at += 1
    if count == 15:
        count, at = _unsigned(content, at)
    if count > len(content) - at:
        raise ValueError(f"a list of {count}")
    values = []
    for _ in range(count):
        if kind in (1, 2):
            value, at = content[at], at + 1
        else:
            value, at = _value(content, at, kind, depth)
        values.append(value)
    return values, at


def _unsigned(content: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = content[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
        if shift > 63:
            raise ValueError("a number beyond 64 bits")


def _signed(content: bytes, at: int) -> tuple[int, int]:
    number, at = _unsigned(content, at)
    return (number >> 1) ^ -(number & 1), at
