"""Avro as a schema registry frames it: byte 0, the schema's number in four bytes, the row. Extra `avro`.

For `events.decoder`: a function of yours makes of a row what is learned from.

    # shop.py, beside learner.toml with `[events] kind = "examples"` and `decoder = "shop:read"`
    from streammeta.avro import Schemas

    schemas = Schemas("http://registry:8081")

    def read(record):
        row = schemas.row(record.value)
        return {"task": row["shop"], "x": [[row["price"], row["weekday"]]], "y": [[row["sold"]]]}
"""

import io
import json
import urllib.error
import urllib.request
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

MAGIC: Final = 0
_HEAD_BYTES: Final = 5
_TIMEOUT_SECONDS: Final = 10.0


class Schemas:
    """Schemas by number, each fetched once: from a registry, or from files `NUMBER.avsc` of a folder.

    A schema that cannot be had is an error of the record that needs it: it becomes a dead letter, which
    `streammeta dlq replay` puts back when the registry answers again.

    Args:
        place: The registry's URL, or the folder.
        headers: Sent to the registry, such as `Authorization`.
    """

    def __init__(self, place: str, headers: dict[str, str] | None = None) -> None:
        self._place, self._headers = place, headers or {}
        self._schema = lru_cache(maxsize=None)(self._read)

    def row(self, value: bytes) -> Any:
        """The row that the value holds.

        Raises:
            ValueError: it is not framed so, its schema cannot be had, or it is not of its schema.
        """
        from fastavro import schemaless_reader

        if len(value) <= _HEAD_BYTES or value[0] != MAGIC:
            raise ValueError("not framed by a schema registry: byte 0 and four bytes of a number lack")
        number = int.from_bytes(value[1:_HEAD_BYTES], "big")
        schema, rest = self._schema(number), io.BytesIO(value[_HEAD_BYTES:])
        try:
            row = schemaless_reader(rest, schema, None)
        except (EOFError, IndexError, KeyError, TypeError, OverflowError, UnicodeDecodeError) as error:
            raise ValueError(f"not a row of schema {number}: {error}") from error
        if rest.read(1):
            raise ValueError(f"longer than a row of schema {number}")
        return row

    def _read(self, number: int) -> Any:
        from fastavro import parse_schema

        try:
            return parse_schema(json.loads(self._text(number)))
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(f"schema {number} cannot be had of {self._place}: {error}") from error

    def _text(self, number: int) -> str:
        if not self._place.startswith(("http://", "https://")):
            return (Path(self._place) / f"{number}.avsc").read_text(encoding="utf-8")
        url = f"{self._place.rstrip('/')}/schemas/ids/{number}"
        request = urllib.request.Request(url, headers=self._headers)  # noqa: S310 (http or https, as seen above)
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 (as above)
            text: str = json.load(answer)["schema"]
            return text
