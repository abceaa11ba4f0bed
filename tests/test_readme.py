"""The README stays true: its settings, its verbs, its examples."""

import re
import tomllib
from pathlib import Path

import pytest

from streammeta.cli import VERBS
from streammeta.codec import decode
from streammeta.config import Config
from streammeta.config.fields import settings
from streammeta.errors import Reason
from streammeta.events import Record

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The fenced blocks of that language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_every_setting_is_in_its_table() -> None:
    """No setting is missing from the reference, and none stands there that is gone."""
    rows = set(
        re.findall(r"^\| `(\w+)`(?: †)? \| ", README[README.index("## Configuration") :], re.MULTILINE)
    )
    assert rows == {setting.key for setting in settings()}


def test_toml_examples_are_valid() -> None:
    """Each TOML block is a configuration."""
    assert len(blocks("toml")) >= 2
    for block in blocks("toml"):
        Config.model_validate(tomllib.loads(block))


def test_json_example_is_an_event() -> None:
    """The event by example decodes."""
    (block,) = blocks("json")
    event = decode(Record("tasks", 0, 0, 0, b"customer-17", block.encode()), max_bytes=1000)
    assert event.episode.support.x.shape == (2, 1)


def test_python_example_compiles() -> None:
    """The producer by example is Python."""
    for block in blocks("python"):
        compile(block, "README.md", "exec")


def test_verbs_exist() -> None:
    """Each `streammeta VERB` of the text is a verb."""
    named = set(re.findall(r"streammeta ([a-z]{3,})\b", README)) - {"daemon"}
    assert named
    assert named <= set(VERBS)


@pytest.mark.parametrize("reason", list(Reason))
def test_reasons_are_told(reason: Reason) -> None:
    """Each reason of the closed list stands in the table of dead letters."""
    assert f"`{reason}`" in README


def test_links_and_pictures_exist() -> None:
    """Relative links lead somewhere."""
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
