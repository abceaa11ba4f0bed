"""The template that `config init` writes."""

import re
import tomllib

import pytest

from streammeta.config import Config
from streammeta.config.fields import settings, variants
from streammeta.config.template import WIDTH, template


def uncommented(text: str) -> str:
    """The text with every commented setting made a setting."""
    return re.sub(r"^# (?=[a-z_]+ = )", "", text, flags=re.MULTILINE)


def test_it_loads_as_the_defaults() -> None:
    """Nothing changes for a user who begins with the template."""
    assert Config.model_validate(tomllib.loads(template())) == Config()


def test_it_names_every_setting() -> None:
    """Each key stands in it, as a setting or commented."""
    for setting in settings():
        assert re.search(rf"^(# )*\[?({setting.section}\.)?{setting.key}(\]| = )", template(), re.MULTILINE)


def test_it_describes_every_setting_of_the_default_tables() -> None:
    """Whatever the line breaks, each description is there in full."""
    words = " ".join(re.sub(r"^(# )+", "", template(), flags=re.MULTILINE).split())
    for setting in settings():
        if setting.key != "name":
            assert " ".join(str(setting.field.description).split()) in words


def test_what_is_derived_stays_derived() -> None:
    """Who changes the topic or the factory in the template alone gets what belongs to it."""
    text = template().replace('"tasks"', '"mine"').replace('"streammeta.models:mlp"', '"mine:network"')
    config = Config.model_validate(tomllib.loads(text))
    assert config.kafka.dead_letter_topic == "mine.dlq"
    assert config.model.args == {}


def test_commented_settings_are_valid() -> None:
    """Removing the comment sign before a setting of the default tables gives a file that loads."""
    tables = re.sub(r"^# Instead of the table above.*\n(#.*\n)*", "", template(), flags=re.MULTILINE)
    document = tomllib.loads(uncommented(tables))
    document["kafka"]["client"]["sasl_plain_password"] = "x"  # noqa: S105 - of nobody
    config = Config.model_validate(document)
    assert config.outer.clip_norm == 10.0
    assert config.outer.schedule is not None
    assert config.kafka.client["security_protocol"] == "SASL_SSL"
    assert config.kafka.dead_letter_topic == "tasks.dlq"


@pytest.mark.parametrize("section", ["algorithm", "outer"])
def test_the_other_algorithms_are_there_to_be_uncommented(section: str) -> None:
    """Each commented alternative is a valid table, with the defaults of its model."""
    for name, model in list(variants(section).items())[1:]:
        block = re.search(rf'^# \[{section}\]\n# name = "{name}"\n(# .*\n)*', template(), re.MULTILINE)
        assert block, name
        text = re.sub(r"^# ", "", block[0], flags=re.MULTILINE)
        text += "[events]\nbatch = 2\n"  # some learn from several tasks at once only
        assert getattr(Config.model_validate(tomllib.loads(text)), section) == model()


def test_comments_are_wrapped() -> None:
    """The file reads in an ordinary window."""
    assert max(map(len, template().splitlines())) <= WIDTH + 10
