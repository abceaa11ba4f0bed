"""A walk over the models: which settings there are, in which table, and what each may be."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from streammeta.config.schema import Config
from streammeta.config.section import Section
from streammeta.config.toml import toml_value

Keys = tuple[str, ...]
"""Where a setting stands: ("kafka", "topic")."""


class Setting(NamedTuple):
    """One key of one table; `variant` names the algorithm or optimiser whose key it is, "" elsewhere."""

    section: str
    variant: str
    key: str
    field: FieldInfo


def sections() -> list[str]:
    """The tables, in the order of the file."""
    return list(Config.model_fields)


def variants(section: str) -> dict[str, type[Section]]:
    """The models that a table may have, by `name`; most have one, under ""."""
    annotation = Config.model_fields[section].annotation
    return {_name(model): model for model in get_args(annotation) or (annotation,)}


def fields(model: type[Section]) -> dict[str, FieldInfo]:
    """The settings of a table by their keys in the file (`lambda` is a word that Python keeps for itself)."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def table_of(field: FieldInfo) -> type[Section] | None:
    """The model of a setting that is a table of its own; None for the others."""
    choices = get_args(field.annotation) or (field.annotation,)
    return next((one for one in choices if isinstance(one, type) and issubclass(one, Section)), None)


def settings() -> Iterator[Setting]:
    """Every setting of every table and variant."""
    for section in sections():
        for variant, model in variants(section).items():
            for key, field in fields(model).items():
                yield Setting(section, variant, key, field)


def allowed(field: FieldInfo) -> str:
    """What a value may be, in words; "" when its description says it all.

    >>> from streammeta.config.algorithms import MomlSection
    >>> allowed(MomlSection.model_fields["beta"]), allowed(MomlSection.model_fields["order"])
    ('above 0, at most 1', '"second" or "first"')
    """
    if get_origin(field.annotation) is Literal:
        *others, last = (toml_value(choice) for choice in get_args(field.annotation))
        return f"{', '.join(others)} or {last}" if others else f"only {last}"
    return ", ".join(filter(None, map(_bound, field.metadata)))


def takes_text(field: FieldInfo) -> bool:
    """Whether values of this setting are text, so that digits from outside stay text."""
    if get_origin(field.annotation) is Literal:
        return all(isinstance(choice, str) for choice in get_args(field.annotation))
    return field.annotation in (str, Path, str | None)


def _name(model: Any) -> str:
    return model.model_fields["name"].default if "name" in model.model_fields else ""


def _bound(constraint: Any) -> str:
    match constraint:
        case Ge(ge=bound):
            return f"at least {bound}"
        case Gt(gt=bound):
            return f"above {bound}"
        case Le(le=bound):
            return f"at most {bound}"
        case Lt(lt=bound):
            return f"below {bound}"
    return ""
