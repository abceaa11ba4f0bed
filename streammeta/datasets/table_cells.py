"""Cells of one column as numbers or task ids.

Every failure is a `ConfigError` that names the file, the column, the row (1 is the first below the header)
and the value.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from streammeta.errors import ConfigError
from streammeta.events import Array

MISSING: Final = frozenset(
    {
        "",
        "#n/a",
        "#na",
        "#n/a n/a",
        "n/a",
        "na",
        "<na>",
        "nan",
        "-nan",
        "nat",
        "null",
        "(null)",
        "none",
        "nil",
    }
    | {"\\n", "-", "--", "?", ".", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"}
)
"""What stands for no value, in any case: what pandas takes for it, and what databases and sheets write."""

_GROUPED: Final = {
    mark: re.compile(
        rf"[+-]?\d{{1,3}}(?:(?P<by>[{others}])\d{{3}}(?:(?P=by)\d{{3}})*)?(?:\{mark}\d*)?(?:[eE][+-]?\d+)?"
    )
    for mark, others in ((",", ".'’ \u00a0\u202f"), (".", ",'’ \u00a0\u202f"))
}
"""By the decimal mark: a number whose thousands are divided by one mark throughout."""
_GROUPS: Final = str.maketrans("", "", "'’ \u00a0\u202f")


@dataclass(frozen=True, slots=True)
class Notation:
    """How values are written.

    Attributes:
        markers: More texts that stand for no value; one that is a number also where a column is numeric.
        decimal: "," or "."; the other one then divides thousands. None: a point, and nothing divides them.
    """

    markers: frozenset[str] = frozenset()
    decimal: str | None = None

    def missing(self, text: str) -> bool:
        """Whether it stands for no value."""
        text = text.strip()
        return text.casefold() in MISSING or text in self.markers

    def number(self, text: str) -> float:
        """Its value.

        Raises:
            ValueError: it is no number.
        """
        text = text.strip()
        if "_" in text:
            raise ValueError(text)  # Python's own notation, in no table meant as a number
        if self.decimal is None:
            return float(text)
        if _GROUPED[self.decimal].fullmatch(text):
            other = "." if self.decimal == "," else ","
            return float(text.translate(_GROUPS).replace(other, "").replace(self.decimal, "."))
        if self.decimal == "," and "." in text:
            raise ValueError(text)
        return float(text.replace(self.decimal, "."))

    @property
    def sentinels(self) -> list[float]:
        """The markers that are numbers."""
        return [float(marker) for marker in self.markers if is_number(marker)]


@dataclass(frozen=True, slots=True)
class Cells:
    """Some rows of a column: a sequence of str, or an Arrow array."""

    path: Path
    column: str
    first_row: int
    values: Any

    def wrong(self, place: int, value: object, what: str, remedy: str = "correct the table") -> ConfigError:
        """The error of the cell at `place`."""
        row = self.first_row + int(place)
        return ConfigError(
            f"{self.path}: column {self.column!r}, row {row}: {str(value)[:60]!r} {what}; {remedy}"
        )

    def no_value(self, place: int) -> ConfigError:
        """The error of a cell that is empty and must not be."""
        row = self.first_row + int(place)
        return ConfigError(
            f"{self.path}: column {self.column!r}, row {row}: no value; fill it, or leave such rows out: "
            "--missing skip"
        )

    def plain(self) -> Any:
        """Without Arrow's dictionary: an array of the values themselves; of a CSV the values."""
        if isinstance(self.values, Sequence):
            return self.values
        return self.values.dictionary_decode() if hasattr(self.values, "dictionary") else self.values

    def texts(self) -> list[str | None]:
        """Each value as text, bytes as UTF-8; None where there is none."""
        values = self.plain()
        return [self._text(place, value) for place, value in enumerate(_listed(values))]

    def _text(self, place: int, value: Any) -> str | None:
        if isinstance(value, bytes):
            try:
                return value.decode()
            except UnicodeDecodeError:
                raise self.wrong(place, value, "is not UTF-8") from None
        if value is None or value != value:
            return None
        if isinstance(value, float) and value.is_integer():
            return str(int(value))  # pandas makes 1.0 of 1 where a column has missing values
        return str(value)


def numbers(cells: Cells, notation: Notation) -> Array:
    """The column as float64, NaN where there is no value."""
    values = cells.plain()
    found = _of_texts(cells, cells.texts(), notation) if is_text(values) else _of_arrow(cells, values)
    if notation.sentinels:
        found = np.where(np.isin(found, notation.sentinels), math.nan, found)
    wild = np.flatnonzero(np.isinf(found))
    if len(wild):
        raise cells.wrong(wild[0], _listed(values)[wild[0]], "is not finite")
    return found


def task_ids(cells: Cells, markers: frozenset[str], known: dict[str, str]) -> list[str | None]:
    """The column as task ids, None where there is none; equal ids are one object, kept in `known`."""
    found: list[str | None] = []
    for place, text in enumerate(cells.texts()):
        if not text or text in markers:
            found.append(None)
            continue
        if text not in known:
            if len(text.encode()) > 256:
                raise cells.wrong(place, text, "is no task id (1 to 256 bytes)")
            known[text] = text
        found.append(known[text])
    return found


def rounding(cells: Cells) -> float:
    """The relative deviation below which the column's values are one value, rounded differently."""
    size = getattr(getattr(cells.plain(), "type", None), "bit_width", 64) if _is_float(cells.plain()) else 64
    return {16: 2e-2, 32: 2e-6}.get(size, 1e-12)


def _of_texts(cells: Cells, texts: Sequence[str | None], notation: Notation) -> Array:
    if notation.decimal is None:
        try:
            if not any("_" in text for text in texts if text):
                found = np.array(list(map(float, texts)))  # type: ignore[arg-type]  # None raises TypeError
                if np.isfinite(found).all():
                    return found
        except (TypeError, ValueError):
            pass
    return np.array([_number(cells, place, text, notation) for place, text in enumerate(texts)], np.float64)


def _number(cells: Cells, place: int, text: str | None, notation: Notation) -> float:
    if text is None or notation.missing(text):
        return math.nan
    try:
        return notation.number(text)
    except ValueError:
        remedy = "correct the table"
        if notation.decimal is None and _GROUPED[","].fullmatch(text.strip()):
            remedy = "name its decimal mark, --decimal , or --decimal ."
        raise cells.wrong(place, text, "is no number", remedy) from None


def _of_arrow(cells: Cells, values: Any) -> Array:
    import pyarrow as pa  # its arrays are here, so it is imported

    kind = values.type
    if pa.types.is_null(kind):
        return np.full(len(values), math.nan)
    if pa.types.is_boolean(kind):
        values = values.cast(pa.int8())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        place = next((place for place, value in enumerate(values.to_pylist()) if value is not None), None)
        if place is None:
            return np.full(len(values), math.nan)
        raise cells.wrong(place, values[place], f"is no number (the column's type is {kind})")
    return np.asarray(values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64).copy()


def is_text(values: Any) -> bool:
    """Whether they are read as text: a CSV's, and strings and bytes of Arrow."""
    return isinstance(values, Sequence) or "string" in str(values.type) or "binary" in str(values.type)


def _is_float(values: Any) -> bool:
    return not isinstance(values, Sequence) and str(values.type) in ("halffloat", "float", "double")


def _listed(values: Any) -> Sequence[Any]:
    return values if isinstance(values, Sequence) else values.to_pylist()


def is_number(text: str) -> bool:
    """Whether Python reads it as one."""
    try:
        float(text)
    except ValueError:
        return False
    return True
