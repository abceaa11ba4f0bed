"""How a configuration reads records: as the contract has them, or by a function that it names."""

import pytest

from streammeta.codec import CONTROL, RESET
from streammeta.config import Config
from streammeta.errors import BadEvent, ConfigError
from streammeta.events import Examples, Forget, Record, Reset
from streammeta.runtime.reading import decoder_of


def read(record: Record) -> dict[str, object]:
    """A user's function: two numbers of a line of text."""
    x, y = (record.value or b"").split(b";")
    return {"x": [[float(x)]], "y": [[float(y)]]}


def config(**events: object) -> Config:
    """These settings of `[events]`."""
    return Config.model_validate({"events": events})


def test_a_named_function_reads() -> None:
    """It is found as a model's factory is."""
    decode = decoder_of(config(kind="examples", decoder=f"{__name__}:read"))
    found = decode(Record("t", 0, 0, 0, b"a", b"3;4"))
    assert isinstance(found, Examples)
    assert (found.examples.x.tolist(), found.examples.y.tolist()) == ([[3.0]], [[4.0]])


def test_a_record_that_changes_a_task_is_not_the_functions() -> None:
    """It has no value that could be read; where tombstones are dead letters, it has what it makes of them."""
    tombstone, one = Record("t", 0, 0, 0, b"a", None), Record("t", 0, 1, 0, b"a", b"{}", ((CONTROL, RESET),))
    decode = decoder_of(config(kind="examples", decoder=f"{__name__}:read"))
    assert (decode(tombstone), decode(one)) == (Forget("a"), Reset("a"))
    with pytest.raises(BadEvent):
        decoder_of(config(tombstones="dead_letter"))(tombstone)


@pytest.mark.parametrize("name", ["nowhere:read", f"{__name__}:absent", "read"])
def test_a_name_of_nothing_is_told_with_its_setting(name: str) -> None:
    """Before the first record."""
    with pytest.raises(ConfigError, match=r"events\.decoder"):
        decoder_of(config(decoder=name))
