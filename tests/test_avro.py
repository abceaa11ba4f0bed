"""Avro as a schema registry frames it, from a registry and from files; and through the learner."""

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import fastavro
import pytest

from streammeta.avro import Schemas
from streammeta.codec import decode_examples
from streammeta.codec.foreign import translated
from streammeta.errors import BadEvent
from streammeta.events import Examples, Record

SCHEMA = {
    "type": "record",
    "name": "Sale",
    "fields": [
        {"name": "shop", "type": "string"},
        {"name": "price", "type": "double"},
        {"name": "sold", "type": "long"},
    ],
}


def framed(row: dict[str, Any], number: int = 7) -> bytes:
    """As the registry's serialiser writes it."""
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(SCHEMA), row)
    return b"\0" + number.to_bytes(4, "big") + body.getvalue()


SALE = framed({"shop": "Köln", "price": 2.5, "sold": 3})


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """The schema as a file."""
    (tmp_path / "7.avsc").write_text(json.dumps(SCHEMA))
    return str(tmp_path)


@pytest.fixture
def registry() -> Iterator[tuple[str, list[str]]]:
    """A registry's address, and what it was asked."""
    asked = list[str]()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.path} {self.headers['Authorization']}")
            known = self.path == "/schemas/ids/7"
            self.send_response(200 if known else 404)
            self.end_headers()
            self.wfile.write(json.dumps({"schema": json.dumps(SCHEMA)}).encode() if known else b"{}")

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def test_a_schema_is_fetched_once(registry: tuple[str, list[str]]) -> None:
    """With the headers that were given; one that is not there is asked for at each record that needs it."""
    url, asked = registry
    schemas = Schemas(url, {"Authorization": "Bearer x"})
    assert [schemas.row(SALE)["shop"] for _ in range(3)] == ["Köln"] * 3
    assert asked == ["/schemas/ids/7 Bearer x"]
    for _ in range(2):
        with pytest.raises(ValueError, match=r"schema 9 cannot be had of http.*404"):
            schemas.row(framed({"shop": "a", "price": 0.0, "sold": 0}, 9))
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"\1" + SALE[1:], "not framed"),
        (SALE[:5], "not framed"),
        (SALE[:-3], "not a row of schema 7"),
        (SALE + b"\0", "longer than a row of schema 7"),
        (SALE[:5] + b"\xff" * 30, "not a row of schema 7"),
    ],
)
def test_what_is_no_row_is_refused(value: bytes, words: str, folder: str) -> None:
    """By a ValueError, which becomes a dead letter."""
    with pytest.raises(ValueError, match=words):
        Schemas(folder).row(value)


def test_rows_become_examples(folder: str) -> None:
    """The way of the module's own example."""
    schemas = Schemas(folder)

    def read(record: Record) -> dict[str, Any]:
        row = schemas.row(record.value or b"")
        return {"task": row["shop"], "x": [[row["price"]]], "y": [[row["sold"]]]}

    found = decode_examples(
        translated(Record("t", 0, 0, 0, None, SALE), read, "shop:read", 1000), max_bytes=1000
    )
    assert isinstance(found, Examples)
    assert (found.task, found.examples.x.tolist(), found.examples.y.tolist()) == ("Köln", [[2.5]], [[3]])
    with pytest.raises(BadEvent, match="shop:read: ValueError: not framed"):
        translated(Record("t", 0, 0, 0, None, b"{}"), read, "shop:read", 1000)
