"""The `[algorithm]` tables: one class an algorithm, named in `Algorithm`."""

from typing import Annotated, ClassVar, Final, Literal, get_args

from pydantic import Field, ValidationInfo, field_validator

from streammeta.config.bilevel import Bilevel, InnerClipNorm, MultiStepMamlSection
from streammeta.config.section import Free, Section

Order = Literal["second", "first"]
HessianSet = Literal["support", "half"]
_NAME = "The algorithm."

InnerLr = Annotated[
    Free[float], Field(ge=0, description="α, the step size of the adaptation to a task; 0 adapts nothing.")
]
UnlearnedLr = Annotated[
    Free[float],
    Field(ge=0, description="α of the adaptation that is measured beside; nothing is learned through it."),
]
Beta = Annotated[
    float,
    Field(gt=0, le=1, description="β, the weight of the new value in a task's memory; 1 forgets at once."),
]
_ORDER = "Whether the meta-gradient has its second-order term (a Hessian-vector product) or drops it."
TheOrder = Annotated[Order, Field(description=_ORDER)]
_HESSIAN_SET = (
    "Examples of the Hessian-vector product: the support set again (biased, stable), or one half of it while "
    "the other half adapts (unbiased, diverges at large steps). Only with second order."
)
TheHessianSet = Annotated[HessianSet, Field(description=_HESSIAN_SET)]
OuterScale = Annotated[
    Literal["none", "beta"],
    Field(description="beta multiplies the meta-gradient by β: only to reproduce the authors' numbers."),
]
LocalSteps = Annotated[
    int,
    Field(
        ge=1,
        description="H, steps of a client in a round; a round is an iteration. The query set, and what "
        "initial_examples leaves of the support set, are cut into H equal pieces.",
    ),
]


class _SecondOrder(Section):
    @field_validator("hessian_set", check_fields=False)
    @classmethod
    def _used(cls, examples: HessianSet, info: ValidationInfo) -> HessianSet:
        if examples == "half" and info.data.get("order") == "first":
            raise ValueError('has an effect only with algorithm.order = "second"; remove it')
        return examples


class _ManyTasks(_SecondOrder):
    """An algorithm that is none with one task an iteration: `alone` says why."""

    alone: ClassVar[str]


class MomlSection(_SecondOrder):
    """MOML: one memory per task tracks the task's adapted parameters."""

    name: Literal["moml"] = Field("moml", description=_NAME)
    inner_lr: InnerLr = 0.01
    inner_clip_norm: InnerClipNorm = None
    beta: Beta = 0.3
    order: TheOrder = "second"
    hessian_set: TheHessianSet = "support"
    outer_scale: OuterScale = "none"


class MomlV2Section(_SecondOrder):
    """MOML v2: the memories of absent tasks move with the meta-parameters."""

    name: Literal["moml_v2"] = Field("moml_v2", description=_NAME)
    inner_lr: InnerLr = 0.01
    inner_clip_norm: InnerClipNorm = None
    beta: Beta = Field(
        0.1,
        description="β, the weight of the new value in every task's memory; of order events.batch / tasks.",
    )
    tasks: int | None = Field(
        None,
        ge=1,
        description="n, the number of tasks; when absent, those seen so far are counted.",
        examples=[25],
    )
    order: TheOrder = "second"
    hessian_set: TheHessianSet = "support"
    outer_scale: OuterScale = "none"


class MamlSection(_SecondOrder):
    """MAML: adaptation steps from the meta-parameters, no memory."""

    name: Literal["maml"] = Field("maml", description=_NAME)
    inner_lr: InnerLr = 0.01
    inner_clip_norm: InnerClipNorm = None
    inner_steps: int = Field(
        1, ge=0, description="N, adaptation steps on the support set; 0 trains on the query set."
    )
    order: TheOrder = "second"
    hessian_set: TheHessianSet = "support"


class ReptileSection(Section):
    """Reptile: towards the parameters that plain gradient steps reach."""

    name: Literal["reptile"] = Field("reptile", description=_NAME)
    inner_lr: Free[float] = Field(0.01, gt=0, description="α, the step size of the adaptation to a task.")
    inner_clip_norm: InnerClipNorm = None
    inner_steps: int = Field(
        2,
        ge=1,
        description="K, steps on the support and the query set in turn. outer.lr is the paper's ε: 0.1 to 1.",
    )


class AnilSection(Section):
    """ANIL: MAML whose adaptation moves the model's head alone."""

    name: Literal["anil"] = Field("anil", description=_NAME)
    inner_lr: InnerLr = 0.01
    inner_clip_norm: InnerClipNorm = None
    inner_steps: int = Field(1, ge=0, description="N, adaptation steps on the support set.")
    head: str | None = Field(
        None,
        min_length=1,
        description="Names of the head's parameters, with * and ?; when absent, those of the last module.",
        examples=["4.*"],
    )


class NasaSection(_ManyTasks):
    """NASA: MOML's memory, and a moving average of the meta-gradient."""

    alone: ClassVar[str] = (
        "with one task its averaged meta-gradient is momentum on that of MOML; "
        "set events.batch to 2 or more, or use moml with outer.momentum"
    )
    name: Literal["nasa"] = Field("nasa", description=_NAME)
    inner_lr: InnerLr = 0.01
    inner_clip_norm: InnerClipNorm = None
    beta: Beta = 0.5
    gamma: float = Field(
        0.1, gt=0, le=1, description="γ, the weight of the new meta-gradient in the average."
    )
    order: TheOrder = "second"
    hessian_set: TheHessianSet = "support"
    outer_scale: OuterScale = "none"


class BSpiderBoostSection(_ManyTasks):
    """BSpiderBoost: MAML with variance reduction by differences on the same data."""

    alone: ClassVar[str] = (
        "its estimate would begin anew from the gradient of a single task and follow that task for a period; "
        "set events.batch to 2 or more, or use maml"
    )
    name: Literal["bspiderboost"] = Field("bspiderboost", description=_NAME)
    inner_lr: InnerLr = 0.01
    inner_clip_norm: InnerClipNorm = None
    period: int = Field(5, ge=1, description="q: every q-th iteration takes MAML's meta-gradient as it is.")
    order: TheOrder = "second"
    hessian_set: TheHessianSet = "support"


class LocalMomlSection(_SecondOrder):
    """LocalMOML: clients take several steps in a round, a server averages them."""

    name: Literal["local_moml"] = Field("local_moml", description=_NAME)
    inner_lr: InnerLr = 0.01
    inner_clip_norm: InnerClipNorm = None
    beta: Beta = 0.3
    local_steps: LocalSteps = 5
    initial_examples: int = Field(
        5, ge=1, description="K0, the first examples of the support set: they begin a client's memory."
    )
    keep_memory: bool = Field(
        False, description="Clients keep their memory across rounds (cross-silo); else each begins anew."
    )
    order: TheOrder = "second"
    hessian_set: TheHessianSet = "support"
    outer_scale: OuterScale = "none"


class PerFedavgSection(_SecondOrder):
    """Per-FedAvg: LocalMOML with β = 1, no memory."""

    name: Literal["per_fedavg"] = Field("per_fedavg", description=_NAME)
    inner_lr: InnerLr = 0.01
    inner_clip_norm: InnerClipNorm = None
    local_steps: LocalSteps = 5
    order: TheOrder = "second"
    hessian_set: TheHessianSet = "support"


class OnlineSgdSection(Section):
    """One model for all tasks, trained on all examples: a baseline."""

    name: Literal["online_sgd"] = Field("online_sgd", description=_NAME)
    inner_lr: UnlearnedLr = 0.01
    inner_clip_norm: InnerClipNorm = None


class IndependentSection(Section):
    """A model per task, trained on its own examples alone: a baseline."""

    name: Literal["independent"] = Field("independent", description=_NAME)
    inner_lr: UnlearnedLr = 0.01
    inner_clip_norm: InnerClipNorm = None


Moml = MomlSection | MomlV2Section | NasaSection | BSpiderBoostSection | LocalMomlSection | PerFedavgSection
Maml = MamlSection | ReptileSection | AnilSection
Baseline = OnlineSgdSection | IndependentSection
Algorithm = Moml | Maml | Bilevel | Baseline
NAMES: Final = tuple(str(section.model_fields["name"].default) for section in get_args(Algorithm))


def refuse_batch(algorithm: Algorithm, batch: int) -> str | None:
    """Why `algorithm` cannot learn from iterations of `batch` events; None when it can."""
    if isinstance(algorithm, _ManyTasks) and batch == 1:
        return f"algorithm {algorithm.name} needs several tasks at once: {algorithm.alone}"
    if isinstance(algorithm, MomlV2Section) and algorithm.tasks is not None and batch > algorithm.tasks:
        return f"an iteration cannot hold more tasks than algorithm.tasks = {algorithm.tasks}"
    return None


def refuse_sizes(algorithm: Algorithm, support: int, query: int) -> dict[str, str]:
    """Why `algorithm` cannot learn from episodes of these sizes, by the setting to change."""
    if isinstance(algorithm, MultiStepMamlSection) and algorithm.data == "resampling":
        pieces = 2 * algorithm.inner_steps
        return _uncut("support", support, 0, pieces, f"inner_steps = {algorithm.inner_steps}, resampling")
    if isinstance(algorithm, LocalMomlSection | PerFedavgSection):
        steps = algorithm.local_steps
        first = algorithm.initial_examples if isinstance(algorithm, LocalMomlSection) else 0
        why = f"local_steps = {steps}" + (f", initial_examples = {first}" if first else "")
        uncut = _uncut("support", support, first, steps, why) | _uncut("query", query, 0, steps, why)
        if algorithm.hessian_set == "half" and "support" not in uncut and support - first < 2 * steps:
            uncut["support"] = (
                f'algorithm.{why}, hessian_set = "half": pieces of one example have no halves; '
                f"set it to {first + 2 * steps}, or another that fits"
            )
        return uncut
    if getattr(algorithm, "hessian_set", "support") == "half" and support < 2:
        return {"support": 'algorithm.hessian_set = "half" needs two halves; set it to 2 or more'}
    return {}


def _uncut(key: str, examples: int, first: int, pieces: int, why: str) -> dict[str, str]:
    """The refusal of examples that, less the `first`, cannot be cut into equal pieces."""
    size, rest = divmod(examples - first, pieces) if pieces else (1, 0)
    if size > 0 and not rest:
        return {}
    fitting = first + max(1, size + (rest > 0)) * pieces
    return {
        key: f"algorithm.{why}: it is cut into {pieces} equal pieces"
        + (f" after the first {first}" if first else "")
        + f"; set it to {fitting}, or another that fits"
    }
