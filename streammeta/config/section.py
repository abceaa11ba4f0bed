"""What all tables of the configuration have in common, and what a state has to do with their settings.

A setting belongs to the state unless it says otherwise: a state is continued only with the same value. One
that may change between two runs is `Free`.
"""

from enum import Enum
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo

T = TypeVar("T")


class Mark(Enum):
    """Why a setting is no part of a state."""

    FREE = "it may change between two runs"
    FREE_WHEN_READY = 'it may where events.kind is "episode": ready episodes are what they are'


Free = Annotated[T, Mark.FREE]
FreeWhenReady = Annotated[T, Mark.FREE_WHEN_READY]


class Section(BaseModel):
    """A table of the configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def mark_of(field: FieldInfo) -> Mark | None:
    """The setting's mark; None where it belongs to the state."""
    return next((mark for mark in field.metadata if isinstance(mark, Mark)), None)
