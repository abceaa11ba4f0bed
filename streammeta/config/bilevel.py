"""The `[algorithm]` tables of the learners that solve an inner problem: several steps, or to the end."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from streammeta.config.section import Free, Section

_NAME = "The algorithm."
_INNER_STEPS = "K, steps of the inner problem a task."
_LAMBDA = "λ, the pull of a task's parameters towards the meta-parameters."
_PROXIMAL_LR = "α, the step size of the inner problem; α · (smoothness + λ) must stay below 2."
_CG_STEPS = "N, conjugate-gradient steps: one Hessian-vector product each."
_CG_TOLERANCE = "Norm of the residual at which conjugate gradients rest."

InnerClipNorm = Annotated[
    float | None,
    Field(
        gt=0,
        description="c: an adaptation step is along p · min(1, c/‖p‖) instead of p; when absent, along p.",
        examples=[10.0],
    ),
]


class FoBMamlSection(Section):
    """FO-B-MAML: tasks held near the meta-parameters; gradients alone, no Hessian."""

    name: Literal["fo_b_maml"] = Field("fo_b_maml", description=_NAME)
    inner_lr: Free[float] = Field(0.01, ge=0, description=_PROXIMAL_LR)
    inner_clip_norm: InnerClipNorm = None
    inner_steps: int = Field(10, ge=1, description=_INNER_STEPS)
    lambda_: float = Field(1.0, gt=0, alias="lambda", description=_LAMBDA)
    nu: float = Field(
        0.01,
        gt=0,
        description="ν, the part of the query loss that is added to see how the solution moves; rounding "
        "adds about λ · 1e-7 · ‖parameters‖ / ν to the meta-gradient in float32.",
    )
    difference: Literal["symmetric", "forward"] = Field(
        "symmetric",
        description="Error of order ν² from solutions at ±ν, or of order ν from one at ν, cheaper.",
    )


class ImamlSection(Section):
    """iMAML: tasks held near the meta-parameters; implicit differentiation."""

    name: Literal["imaml"] = Field("imaml", description=_NAME)
    inner_lr: Free[float] = Field(0.001, ge=0, description=_PROXIMAL_LR)
    inner_clip_norm: InnerClipNorm = None
    inner_steps: int = Field(10, ge=1, description=_INNER_STEPS)
    lambda_: float = Field(
        30.0,
        gt=0,
        alias="lambda",
        description=_LAMBDA + " Below the loss's negative curvature the meta-gradient blows up.",
    )
    cg_steps: int = Field(5, ge=1, description=_CG_STEPS)
    cg_tolerance: float = Field(1e-10, ge=0, description=_CG_TOLERANCE)


def _inner_rate(known: dict[str, Any]) -> float:
    """The rule 1/(8NL) where L is given."""
    smoothness, steps = known.get("smoothness"), known.get("inner_steps", 1)
    return 0.01 if smoothness is None else 1 / (8 * max(steps, 1) * smoothness)


class MultiStepMamlSection(Section):
    """Multi-step MAML: N adaptation steps, with the theory's data and step sizes."""

    name: Literal["multi_step_maml"] = Field("multi_step_maml", description=_NAME)
    inner_steps: int = Field(5, ge=0, description="N, adaptation steps; 0 trains on the query set.")
    smoothness: float | None = Field(
        None,
        gt=0,
        description=(
            "L, a bound on the loss's curvature, for the rule of inner_lr and for an adaptive meta step, "
            "which estimates it when it is absent."
        ),
        examples=[10.0],
    )
    inner_lr: Free[float] = Field(
        default_factory=_inner_rate,
        validate_default=True,
        ge=0,
        description=(
            "α, the step size of the adaptation, in proportion to 1/N; when absent, 1/(8·N·L) with a given "
            "smoothness, else 0.01."
        ),
    )
    inner_clip_norm: InnerClipNorm = None
    data: Literal["finite_sum", "resampling"] = Field(
        "finite_sum",
        description=(
            "Every step on the whole support set, or on fresh examples: the set is cut into 2N equal pieces."
        ),
    )
    meta_step: Literal["fixed", "adaptive"] = Field(
        "fixed",
        description=(
            "adaptive divides outer.lr by the smoothness of the objective; by theory outer.lr is then 0.01 "
            "when resampling, 0.0125 for a finite sum."
        ),
    )
    hessian_lipschitz: float | None = Field(
        None,
        gt=0,
        description="ρ, how fast the curvature may change, for an adaptive meta step; estimated when absent.",
        examples=[10.0],
    )

    @field_validator("hessian_lipschitz")
    @classmethod
    def _used(cls, constant: float | None, info: ValidationInfo) -> float | None:
        if constant is not None and info.data.get("meta_step") == "fixed":
            raise ValueError('has an effect only with algorithm.meta_step = "adaptive"; remove it')
        return constant


class MemoryReducedSection(Section):
    """Memory-reduced: shared features, and a head per task that is solved for."""

    name: Literal["memory_reduced"] = Field("memory_reduced", description=_NAME)
    inner_lr: Free[float] = Field(
        0.005,
        ge=0,
        description="α, the step size of a task's head; α · (curvature in the head + ridge) must stay below "
        "2. The paper, with cross_entropy: 0.1.",
    )
    inner_clip_norm: InnerClipNorm = None
    inner_steps: int = Field(20, ge=0, description="K, steps of the head a task.")
    head: str | None = Field(
        None,
        min_length=1,
        description="Names of the head's parameters, with * and ?; when absent, those of the last module.",
        examples=["4.*"],
    )
    ridge: float = Field(
        1.0,
        gt=0,
        description="μ, the weight of ½‖head‖²; keeps its problem regular, the meta-gradient short.",
    )
    cg_steps: int = Field(20, ge=1, description=_CG_STEPS)
    cg_tolerance: float = Field(1e-10, ge=0, description=_CG_TOLERANCE)
    warm_start: bool = Field(
        False,
        description="Keep each task's head and multiplier and go on from there; else nothing is kept.",
    )


Bilevel = FoBMamlSection | ImamlSection | MultiStepMamlSection | MemoryReducedSection
