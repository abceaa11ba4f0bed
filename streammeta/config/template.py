"""The commented configuration file that `streammeta config init` writes, made from the models alone."""

import textwrap
from collections.abc import Iterator
from typing import Any

from pydantic.fields import FieldInfo

from streammeta.config.fields import allowed, fields, sections, variants
from streammeta.config.schema import Config
from streammeta.config.section import Section
from streammeta.config.toml import toml_value

WIDTH = 100
"""Columns of a comment."""

_HEAD = """\
The configuration of streammeta.

Every value below is the default, so a line may be left out. A commented setting shows what applies
when it is absent, or an example. A value is taken from the first of these that gives it:
  --set section.key=VALUE                on the command line
  STREAMMETA_SECTION__KEY=VALUE          in the environment; STREAMMETA_KAFKA__CLIENT__SSL_PASSWORD
  this file
  the default
Keep passwords in the environment. `streammeta config check --config FILE` tells every wrong setting
at once; `streammeta config show --config FILE` tells what applies, and where each value came from.
"""


def template() -> str:
    """TOML text that loads as the defaults."""
    lines = [f"# {line}".rstrip() for line in _HEAD.splitlines()]
    for section in sections():
        lines += ["", *_section(section)]
    return "\n".join(lines) + "\n"


def _section(section: str) -> Iterator[str]:
    chosen = getattr(Config(), section)
    models = variants(section)
    if len(models) == 1:
        yield from _comment(_summary(type(chosen)))
    yield f"[{section}]"
    yield from _settings(section, chosen, models)
    for name, model in models.items():
        if name and name != chosen.name:
            yield from _alternative(section, model)


def _settings(section: str, chosen: Section, models: dict[str, type[Section]]) -> Iterator[str]:
    tables = []
    values = chosen.model_dump(by_alias=True)
    for key, field in fields(type(chosen)).items():
        value = values[key]
        if field.default == {}:
            tables.append((key, field))
        elif key == "name":
            yield from _comment("One of:" if len(models) > 1 else "For now there is one:")
            for name, model in models.items():
                yield from _comment(f'  "{name}"  {_summary(model)}')
            yield _pair(key, value)
        else:
            yield from _setting(key, field, value)
    for key, field in tables:
        yield from ("", *_comment(_described(field)), f"[{section}.{key}]")
        yield from (f"# {_pair(inner, value)}" for inner, value in _example(field).items())


def _setting(key: str, field: FieldInfo, value: Any) -> Iterator[str]:
    yield from _comment(_described(field))
    if value is None:
        yield f"# {_pair(key, _example(field))}"
    else:
        derived = field.default_factory_takes_validated_data
        yield ("# " if derived else "") + _pair(key, value)


def _alternative(section: str, model: type[Section]) -> Iterator[str]:
    """Another variant as a table that is commented as a whole."""
    yield from ("", f"# Instead of the table above: {_summary(model)}", f"# [{section}]")
    values = model().model_dump(by_alias=True)
    for key, field in fields(model).items():
        lines = [_pair(key, values[key])] if key == "name" else _setting(key, field, values[key])
        yield from (f"# {line}" for line in lines)


def _described(field: FieldInfo) -> str:
    bounds = allowed(field)
    return f"{field.description} {bounds[0].upper()}{bounds[1:]}." if bounds else str(field.description)


def _summary(model: type[Section]) -> str:
    return str(model.__doc__).splitlines()[0]


def _example(field: FieldInfo) -> Any:
    return (field.examples or [{}])[0]


def _pair(key: str, value: Any) -> str:
    return f"{key} = {toml_value(value)}"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ")
