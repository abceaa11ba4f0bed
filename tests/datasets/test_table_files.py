"""Files as tools write them: encodings, quotes, compression."""

import lzma
from pathlib import Path

import pyarrow as pa
import pytest

from streammeta.datasets.table_data import Reading, Roles, load_rows
from streammeta.datasets.table_files import Dialect
from streammeta.errors import ConfigError
from tests.tables import ROLES, csv

TEXT = "shop,day,price,sold,day,note\nA,1,1,3,x,é\n"


def test_a_column_twice_matters_only_where_it_is_used(tmp_path: Path) -> None:
    """So does a cell larger than Python's own limit."""
    path = csv(tmp_path / "a.csv", TEXT.replace("é", "e" * 200_000))
    assert load_rows(path, ROLES._replace(time=None)).tasks == ["A"]
    with pytest.raises(ConfigError, match="2 columns are named 'day'"):
        load_rows(path, ROLES)


@pytest.mark.parametrize(
    ("encoding", "name"), [("utf-8-sig", "utf-8"), ("latin-1", "latin-1"), ("utf-16", "utf-16")]
)
def test_encodings(encoding: str, name: str, tmp_path: Path) -> None:
    """A byte order mark, one byte a character, two."""
    path = csv(tmp_path / "a.csv", TEXT, encoding)
    roles = ROLES._replace(task="note", time=None)
    assert load_rows(path, roles, Reading(dialect=Dialect(encoding=name))).tasks == ["é"]


def test_another_encoding_is_named(tmp_path: Path) -> None:
    """With the option that mends it."""
    path = csv(tmp_path / "a.csv", TEXT, "latin-1")
    with pytest.raises(ConfigError, match="byte 0xe9 is not utf-8; name the file's encoding"):
        load_rows(path, ROLES._replace(time=None))


def test_lines_in_quotes_and_of_windows(tmp_path: Path) -> None:
    """A line break within quotes is a part of the value."""
    path = csv(tmp_path / "a.csv", 'shop,day,price,sold\r\n"A\nB",1,2,3\r\n')
    assert load_rows(path, ROLES).tasks == ["A\nB"]


def test_a_quote_that_is_not_closed(tmp_path: Path) -> None:
    """It would swallow the rest of the table."""
    path = csv(tmp_path / "a.csv", 'shop,day,price,sold\nA,1,2,"3\nB,1,2,3\n')
    with pytest.raises(ConfigError, match=r"row 1 .*mend its quotes"):
        load_rows(path, ROLES)


@pytest.mark.parametrize("codec", ["gzip", "bz2", "zstd", "xz"])
def test_compressed_under_any_name(codec: str, tmp_path: Path) -> None:
    """The first bytes say how; half a file is refused."""
    text, path = b"shop,day,price,sold\nA,1,2,3\n", tmp_path / "a.csv"
    if codec == "xz":
        path.write_bytes(lzma.compress(text))
    else:
        with pa.CompressedOutputStream(str(path), codec) as out:
            out.write(text)
    assert load_rows(path, ROLES).tasks == ["A"]
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ConfigError, match="cannot be read"):
        load_rows(path, ROLES)


@pytest.mark.parametrize("line", ["sep=;", "SEP=;", '"sep=;"', "sep=\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_first_line_that_names_the_delimiter(line: str, encoding: str, tmp_path: Path) -> None:
    """As Excel reads it; rows are counted as without it."""
    mark = line.strip('"')[-1]
    path = csv(tmp_path / "a.csv", f"{line}\r\nshop{mark}sold\r\nA{mark}1\r\nA{mark}x\r\n", encoding)
    with pytest.raises(ConfigError, match="column 'sold', row 2: 'x' is no number"):
        load_rows(path, Roles("shop", (), "sold", None))


def test_nothing_in_it(tmp_path: Path) -> None:
    """An empty file is refused; a header alone is a table without rows."""
    with pytest.raises(ConfigError, match="the file is empty"):
        load_rows(csv(tmp_path / "a.csv", ""), ROLES)
    assert load_rows(csv(tmp_path / "b.csv", "shop,day,price,sold\n"), ROLES).tasks == []
