"""A table's file, a piece of its rows at a time, the used columns alone: CSV, also compressed, or Parquet."""

import bz2
import codecs
import csv
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, Protocol, TextIO, cast

from streammeta.errors import ConfigError, TableDamaged
from streammeta.parquet import Hostile, examine

PIECE_ROWS: Final = 1 << 16
_LARGEST_CELL_BYTES: Final = 64 << 20
"""A quote that nobody closes makes one cell of the rest of the file; it must not fill the memory."""
_KINDS: Final = "a .csv (or .csv.gz, .bz2, .xz, .zst) or a .parquet"
_SEP_LINE: Final = re.compile(r'"?sep=(?P<mark>[^"\r\n])"?\r?\n?', re.IGNORECASE)
"""A first line of Excel: what divides the columns."""
_TAB_SUFFIXES: Final = frozenset({".tsv", ".tab"})


class Dialect(NamedTuple):
    """How a CSV file is written; None: as a first line `sep=;` says, else a tab for .tsv and a comma."""

    delimiter: str | None = None
    encoding: str = "utf-8"


class Piece(NamedTuple):
    """Rows that follow each other; `first_row` counts from 1 below the header."""

    first_row: int
    columns: Sequence[Any]
    """Per column a list of str, or an Arrow array."""


class TableFile(Protocol):
    """An open table."""

    @property
    def names(self) -> Sequence[str]:
        """Of all columns, in their order; a name may come twice."""

    def pieces(self, places: Sequence[int]) -> Iterator[Piece]:
        """The columns at `places`, once."""


@contextmanager
def open_table(path: Path, dialect: Dialect) -> Iterator[TableFile]:
    """The table in `path`.

    Raises:
        ConfigError: no such file, or one that cannot be read so; also while its pieces are read.
        TableDamaged: a Parquet file that contradicts itself, or would fill the memory; also then.
    """
    try:
        if _is_parquet(path):
            with _parquet(path) as table:
                yield table
        else:
            encoding = _with_mark(dialect.encoding)
            with (
                closing(_decompressed(path)) as stream,
                io.TextIOWrapper(stream, encoding=encoding, newline="") as text,
            ):
                yield _Csv(path, text, dialect)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file; name {_KINDS}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: byte {error.object[error.start]:#04x} is not {error.encoding}; name the file's "
            "encoding, such as --encoding latin-1, cp1252 or utf-16"
        ) from error
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); name {_KINDS}") from error


class _Csv:
    """Every row is parsed, and only the used cells are kept."""

    def __init__(self, path: Path, text: TextIO, dialect: Dialect) -> None:
        self._path = path
        first = text.readline()
        named = _SEP_LINE.fullmatch(first)
        self._delimiter = dialect.delimiter or (named["mark"] if named else _delimiter_of(path))
        csv.field_size_limit(_LARGEST_CELL_BYTES)
        # Strict: a quote that is not closed would else end the table without a word.
        self._rows = csv.reader(
            text if named else chain([first], text), delimiter=self._delimiter, strict=True
        )
        self._row = 0
        self.names = self._next() or []
        if not self.names:
            raise ConfigError(f"{path}: the file is empty; its first line must name the columns")

    def pieces(self, places: Sequence[int]) -> Iterator[Piece]:
        """As `TableFile` says; a row with more or fewer cells than the header is refused."""
        chosen = cast("itemgetter[Any]", itemgetter(*places, places[0]))  # one more: always a tuple
        kept: list[tuple[str, ...]] = []
        while (row := self._next()) is not None:
            self._row += 1
            if len(row) != len(self.names):
                raise self._uneven(len(row))
            kept.append(chosen(row))
            if len(kept) == PIECE_ROWS:
                yield self._piece(kept)
                kept = []
        if kept:
            yield self._piece(kept)

    def _piece(self, kept: list[tuple[str, ...]]) -> Piece:
        return Piece(self._row - len(kept) + 1, [*zip(*kept, strict=True)][:-1])

    def _next(self) -> list[str] | None:
        """The next line that is not blank; None at the end."""
        try:
            return next(filter(None, self._rows), None)
        except csv.Error as error:
            raise ConfigError(
                f"{self._path}: row {self._row + 1} (line {self._rows.line_num}): {error}; mend its quotes"
            ) from error

    def _uneven(self, cells: int) -> ConfigError:
        return ConfigError(
            f"{self._path}: row {self._row} has {cells} values, the header names {len(self.names)}; quote "
            f"values with {self._delimiter!r} in them, or name what divides the columns: --delimiter"
        )


class _Parquet:
    """Pieces of a row group at a time; the other columns' bytes are not read."""

    def __init__(self, path: Path, file: Any) -> None:
        self._path, self._file = path, file
        self.names: Sequence[str] = file.schema_arrow.names

    def pieces(self, places: Sequence[int]) -> Iterator[Piece]:
        """As `TableFile` says."""
        names, row = [self.names[place] for place in places], 1
        chosen = list(dict.fromkeys(names))
        with self._path.open("rb") as pages:
            size_bytes = self._path.stat().st_size
            extent = examine(pages, size_bytes, self._file.metadata, PIECE_ROWS, chosen)
        for batch in self._file.iter_batches(batch_size=extent.batch_rows, columns=chosen):
            yield Piece(row, [batch.column(name) for name in names])
            row += len(batch)
        if row != extent.rows + 1:
            raise Hostile(f"it says {extent.rows} rows, and has {row - 1}")


@contextmanager
def _parquet(path: Path) -> Iterator[_Parquet]:
    import pyarrow as pa  # needed for Parquet alone, and slow to import
    import pyarrow.parquet as pq

    try:
        # Buffered: a column of a row group is read a piece at a time, however large it is.
        with pq.ParquetFile(path, buffer_size=1 << 20) as file:
            yield _Parquet(path, file)
    except (Hostile, pa.ArrowException) as error:
        raise TableDamaged(
            f"{path}: {error}; the file is damaged, or no table: write it again, or name {_KINDS}"
        ) from error


def _is_parquet(path: Path) -> bool:
    return path.suffix in (".parquet", ".pq") or _begins(path, b"PAR1")


def _decompressed(path: Path) -> BinaryIO:
    """By what the file begins with, whatever its name."""
    for mark, opened in ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\0", lzma.open)):
        if _begins(path, mark):
            return cast("BinaryIO", opened(path, "rb"))
    if _begins(path, b"\x28\xb5\x2f\xfd"):
        import pyarrow as pa  # needed here for zstd alone

        return cast("BinaryIO", pa.input_stream(str(path), compression="zstd"))
    return path.open("rb")


def _begins(path: Path, mark: bytes) -> bool:
    if not path.is_file():  # a pipe cannot be looked into twice
        return False
    with path.open("rb") as file:
        return file.read(len(mark)) == mark


def _with_mark(encoding: str) -> str:
    """UTF-8 may begin with a byte order mark, as spreadsheets write it."""
    return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding


def _delimiter_of(path: Path) -> str:
    return "\t" if _TAB_SUFFIXES & set(path.suffixes) else ","
