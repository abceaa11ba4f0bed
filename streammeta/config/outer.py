"""The outer optimisers' tables, and the schedule that any of them may have."""

import math
from itertools import pairwise
from typing import Literal

from pydantic import Field, field_validator, model_validator

from streammeta.config.section import Free, Section

ScheduleName = Literal["constant", "step", "inverse_sqrt", "cosine"]
_USED: dict[ScheduleName, set[str]] = {
    "constant": set(),
    "step": {"updates", "fractions", "factor"},
    "inverse_sqrt": {"updates"},
    "cosine": {"updates", "floor"},
}


class ScheduleSection(Section):
    """How `outer.lr` changes with the number t of meta-updates made: it is multiplied by a factor.

    constant: 1. step: `factor` once for each of `fractions` passed. inverse_sqrt: 1/√(1 + t/updates).
    cosine: from 1 down to `floor` over `updates`, and `floor` from then on.
    """

    name: ScheduleName = Field("constant", description="Shape of the schedule.")
    updates: int = Field(
        100_000,
        ge=1,
        le=2**53,
        description="Meta-updates that the schedule spans; one an event, or one an iteration of a batch.",
    )
    fractions: list[float] = Field(
        [0.75], min_length=1, description="step: the parts of `updates` after which the rate is multiplied."
    )
    factor: float = Field(0.1, gt=0, description="step: what it is multiplied with each time.")
    floor: float = Field(0.0, ge=0, le=1, description="cosine: the last factor; 0 ends the learning.")

    @field_validator("fractions")
    @classmethod
    def _rising(cls, fractions: list[float]) -> list[float]:
        if not all(0 < one <= 1 and math.isfinite(one) for one in fractions) or any(
            later <= earlier for earlier, later in pairwise(fractions)
        ):
            raise ValueError("must be rising numbers above 0, at most 1")
        return fractions

    @model_validator(mode="after")
    def _used(self) -> "ScheduleSection":
        idle = [
            key
            for key, field in type(self).model_fields.items()
            if key not in {"name", *_USED[self.name]} and getattr(self, key) != field.default
        ]
        if idle:
            raise ValueError(f'{" and ".join(idle)} has no effect with name = "{self.name}"; remove it')
        return self


_CLIP_NORM = Field(
    None,
    gt=0,
    description="Longer meta-gradients are shortened to this Euclidean norm; when absent, none is.",
    examples=[10.0],
)
_SCHEDULE = Field(
    None,
    description=(
        "How the rate changes with the meta-updates made: constant, step, inverse_sqrt or cosine over a "
        "number of updates; when absent, not at all."
    ),
    examples=[{"name": "cosine", "updates": 100_000, "floor": 0.01}],
)
_NAME = "The optimiser of the meta-parameters."
_STEP_LENGTH = "γ, the length of every meta-update."


class SgdSection(Section):
    """Gradient descent with heavy-ball momentum."""

    name: Literal["sgd"] = Field("sgd", description=_NAME)
    lr: Free[float] = Field(0.001, gt=0, description="η, the step size of the meta-update.")
    momentum: float = Field(0.9, ge=0, lt=1, description="μ, the part of the last step that is kept.")
    clip_norm: float | None = _CLIP_NORM
    schedule: ScheduleSection | None = _SCHEDULE


class SngdmSection(Section):
    """Steps of one length along a mean of past meta-gradients."""

    name: Literal["sngdm"] = Field("sngdm", description=_NAME)
    lr: Free[float] = Field(0.001, gt=0, description=_STEP_LENGTH)
    momentum: float = Field(0.9, ge=0, lt=1, description="β, the weight of the past in that mean.")
    clip_norm: float | None = _CLIP_NORM
    schedule: ScheduleSection | None = _SCHEDULE


class NormalizedSection(Section):
    """Steps of one length along the meta-gradient; with one task a step take sngdm."""

    name: Literal["normalized"] = Field("normalized", description=_NAME)
    lr: Free[float] = Field(0.001, gt=0, description=_STEP_LENGTH)
    clip_norm: float | None = _CLIP_NORM
    schedule: ScheduleSection | None = _SCHEDULE


class ClippedSection(Section):
    """Gradient descent whose steps are never longer than a bound."""

    name: Literal["clipped"] = Field("clipped", description=_NAME)
    lr: Free[float] = Field(
        0.001, gt=0, description="γ, the step size of meta-updates shorter than the bound."
    )
    max_step: float = Field(0.01, gt=0, description="c, the length of the longest meta-update.")
    clip_norm: float | None = _CLIP_NORM
    schedule: ScheduleSection | None = _SCHEDULE


class AdamSection(Section):
    """Adam: each parameter's step is scaled by the size of its past meta-gradients."""

    name: Literal["adam"] = Field("adam", description=_NAME)
    lr: Free[float] = Field(0.001, gt=0, description="η, about the length of a parameter's step.")
    beta1: float = Field(0.9, ge=0, lt=1, description="Weight of the past in the mean of meta-gradients.")
    beta2: float = Field(0.999, ge=0, lt=1, description="Weight of the past in the mean of their squares.")
    epsilon: float = Field(1e-8, gt=0, description="Added to the root of that mean.")
    clip_norm: float | None = _CLIP_NORM
    schedule: ScheduleSection | None = _SCHEDULE


OuterOptimiser = SgdSection | SngdmSection | NormalizedSection | ClippedSection | AdamSection
