"""Small tables of every kind, made or shared."""

from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq

from streammeta.datasets.table_data import Roles

ROLES = Roles("shop", ("price",), "sold", "day")
CLOCK = Roles("s", (), "v", "time")
SHARED = Path(__file__).parents[2] / "shared" / "cases" / "tables"
BERLIN = ZoneInfo("Europe/Berlin")
DAY = 86_400.0
NEW_YEAR = 1_704_067_200.0
"""2024-01-01 in UTC."""


def parquet(path: Path, **columns: Any) -> Path:
    """A Parquet file of these columns."""
    pq.write_table(pa.table(columns), path)
    return path


def csv(path: Path, text: str, encoding: str = "utf-8") -> Path:
    """A file of this text."""
    path.write_bytes(text.encode(encoding))
    return path


def shared_or(name: str, made: Path) -> list[Path]:
    """The file made here, and the shared one of this name where it is."""
    return [made, *filter(Path.exists, [SHARED / name])]


def sales(path: Path, **changed: Any) -> Path:
    """Two rows of one shop; some columns changed."""
    columns = {"shop": ["A", "A"], "day": [1, 2], "price": [1.0, 2.0], "sold": [3, 4]}
    return parquet(path, **{**columns, **changed})
