"""The reference of all settings, as a page in Markdown: `streammeta config docs`."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic.fields import FieldInfo

from streammeta.config.fields import allowed, fields, sections, table_of, variants
from streammeta.config.section import Section, mark_of
from streammeta.config.toml import toml_value

HEAD: Final = """\
# Settings

Written by `streammeta config docs`. TOML; `streammeta config init --output learner.toml` writes a commented
file with every setting, `config check` names every wrong one at once and tries the model, the loss and the
files they name, `config show` tells what applies and where each value came from, `config schema` prints a
JSON Schema for editors.

A value comes from the first of these that gives it: `--set section.key=VALUE`, the variable
`STREAMMETA_SECTION__KEY`, the file, the default. VALUE is a TOML literal or bare text. One key of a table is
one level down: `STREAMMETA_KAFKA__CLIENT__SASL_PLAIN_PASSWORD`, `--set model.args.sizes=[1,8,1]`. Unknown
keys and unknown variables of that form are refused with the nearest known one, as is a variable with one
underscore in place of two. A user name without a password, and a certificate without a key, are refused too.
Relative paths are relative to the working directory.

Settings marked † belong to the state: a state made with another value is refused, with the difference named.
All others may change between runs; learning rates and the log level also at SIGHUP.
"""
_COLUMNS: Final = "| key | default | allowed | meaning |\n|---|---|---|---|"


def page() -> str:
    """The whole page."""
    tables = [
        table
        for section in sections()
        for variant, model in variants(section).items()
        for table in _tables(section, variant, model)
    ]
    return "\n".join([HEAD, *dict.fromkeys(tables)])


def _tables(section: str, variant: str, model: type[Section]) -> Iterator[str]:
    """The table of a section, and those nested in it; equal ones of several variants are one."""
    name = f"`[{section}]`" + (f' with `name = "{variant}"`' if variant else "")
    yield _table(f"## {name}", model, fields(model))
    for key, field in fields(model).items():
        nested = table_of(field)
        if nested is not None:
            yield _table(f"## `[{section}.{key}]`", nested, fields(nested))


def _table(title: str, model: type[Section], settings: Mapping[str, FieldInfo]) -> str:
    about = (model.__doc__ or "").strip().partition("\n")[0]
    made = model().model_dump(by_alias=True)
    rows = "\n".join(_row(key, field, made[key]) for key, field in settings.items())
    return f"{title}\n\n{about}\n\n{_COLUMNS}\n{rows}\n"


def _row(key: str, field: FieldInfo, default: Any) -> str:
    mark = "" if mark_of(field) else " †"
    words = "not set" if default is None else f"`{toml_value(default)}`"
    return f"| `{key}`{mark} | {words} | {allowed(field)} | {field.description} |"
