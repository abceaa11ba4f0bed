"""Every setting with its default, bounds, meaning, and whether a state depends on it; written here alone.

The template, the JSON Schema, the refusals and the reference table are made from these models. A further
algorithm is one class in `algorithms.py` or `bilevel.py`, an outer optimiser one in `outer.py`.
Values are taken as TOML gives them (no text for a number) and are frozen.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, JsonValue, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from streammeta.config.algorithms import Algorithm, MomlSection, refuse_batch, refuse_sizes
from streammeta.config.drift import DriftSection
from streammeta.config.events import EventsSection
from streammeta.config.kafka import KafkaSection
from streammeta.config.outer import OuterOptimiser, SgdSection
from streammeta.config.predict import PredictSection, refuse_loop
from streammeta.config.section import Free, Section
from streammeta.config.values import Directory, ImportPath, LossName

DEFAULT_FACTORY = "streammeta.models:mlp"


def _named(default: str) -> Callable[[Any], Any]:
    """A table without `name` is that of `default`."""
    return lambda table: {"name": default, **table} if isinstance(table, Mapping) else table


def _args(known: dict[str, Any]) -> dict[str, JsonValue]:
    return {"sizes": [1, 40, 40, 1]} if known.get("factory") == DEFAULT_FACTORY else {}


class ModelSection(Section):
    """The network that is learned, and where it is computed."""

    factory: ImportPath = Field(
        DEFAULT_FACTORY, description='Any "package.module:callable" that returns a torch.nn.Module.'
    )
    args: dict[str, JsonValue] = Field(
        default_factory=_args,
        description="Keyword arguments of the factory; when absent, none for any but the default factory.",
    )
    loss: LossName = Field(
        "mse", description='mse, cross_entropy, huber, bce, or a "package.module:callable".'
    )
    seed: int = Field(0, ge=0, le=2**63 - 1, description="Seed of the first parameters.")
    init: Free[str] = Field(
        "",
        description=(
            "A safetensors file of parameters that a new state begins at: a state_dict, or an export's "
            "meta/; empty: the factory's. A state that exists goes on from its own."
        ),
    )
    device: Free[str] = Field("cpu", min_length=1, description='A torch device: "cpu", "cuda", "cuda:1".')
    dtype: Literal["float32", "float64"] = Field("float32", description="Number format of parameters.")
    threads: Free[int] = Field(
        1, ge=1, description="Threads of one torch operation; the same bits need the same number."
    )


class StateSection(Section):
    """What survives a crash, and how often it is written."""

    dir: Free[Directory] = Field(
        Path("state"), description="The state directory, relative to the working directory; one writer."
    )
    cache_tasks: Free[int] = Field(
        100_000, ge=1, description="How many task memories are held in RAM; the others stay on disk."
    )
    checkpoint_events: Free[int] = Field(
        1000, ge=1, description="A checkpoint is due after this many events."
    )
    checkpoint_seconds: Free[float] = Field(
        5.0, gt=0, description="A checkpoint is due after this many seconds with an event."
    )
    keep_checkpoints: Free[int] = Field(
        0,
        ge=0,
        le=1000,
        description="Copies of the state kept in dir/checkpoints, one a minute, newest first; 0: none.",
    )


class EngineSection(Section):
    """How the learning step is computed. What ran is written in the state; this may change between runs."""

    compile: Free[Literal["auto", "off", "require"]] = Field(
        "auto",
        description="Steps as machine code: compiled beside the learning, from the cache where it has them "
        "(auto); never (off); before the first event of their shapes, or not at all without a C++ compiler "
        "(require). What was recorded is replayed by the steps that learned it.",
    )
    cache_dir: Free[str] = Field(
        "",
        description="Where compiled steps are kept, for this user alone; empty: "
        "$XDG_CACHE_HOME/streammeta, else ~/.cache/streammeta.",
    )


class DistributedSection(Section):
    """How ranks that `torchrun` started learn together; read under it alone."""

    round_events: Free[int] = Field(
        1000, ge=1, description="Records that a rank takes between two averages of the meta-models: a round."
    )
    round_seconds: Free[float] = Field(
        60.0,
        ge=0,
        description="Seconds after which a round with records is closed all the same; 0: never, so that the "
        "records alone say where rounds end.",
    )
    weights: Free[Literal["events", "uniform"]] = Field(
        "events",
        description="How ranks weigh in the average: by the events learned in the round, or all alike that "
        "learned any.",
    )
    overlap: Free[bool] = Field(
        default=False,
        description="Whether a round is averaged while the next one is learned: w alone, one round late.",
    )
    timeout_seconds: Free[float] = Field(
        60.0,
        gt=0,
        description="Seconds without a sign of life after which a rank is given up: the others end with exit "
        "69, and torchrun starts the group again.",
    )


class HttpSection(Section):
    """The page, the metrics and the health checks: one port."""

    host: Free[str] = Field(
        "127.0.0.1", min_length=1, description="Address to listen on; loopback unless changed."
    )
    port: Free[int] = Field(9464, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    token_file: Free[str] = Field(
        "",
        description="File with a bearer token for everything but /livez, /readyz and /metrics; empty: none.",
    )
    metrics_token: Free[bool] = Field(
        default=False, description="Whether /metrics asks for that token too: they name topic and tasks."
    )
    metrics_tasks: Free[int] = Field(
        20, ge=0, le=20, description="Worst tasks that /metrics names; 0: none, their mean alone."
    )

    @field_validator("metrics_token")
    @classmethod
    def _given(cls, asked: bool, info: ValidationInfo) -> bool:
        if asked and not info.data.get("token_file"):
            raise ValueError("needs http.token_file, which names the file with the token")
        return asked


class LogSection(Section):
    """Logs, on standard error."""

    level: Free[Literal["debug", "info", "warning", "error"]] = Field(
        "info", description="Least level shown."
    )
    format: Free[Literal["console", "json"]] = Field(
        "console", description="For people, or one object a line."
    )


class Config(Section):
    """The configuration of streammeta."""

    kafka: KafkaSection = KafkaSection()
    model: ModelSection = ModelSection()
    algorithm: Annotated[Algorithm, Field(discriminator="name"), BeforeValidator(_named("moml"))] = (
        MomlSection()
    )
    outer: Annotated[OuterOptimiser, Field(discriminator="name"), BeforeValidator(_named("sgd"))] = (
        SgdSection()
    )
    events: EventsSection = Field(EventsSection(), validate_default=True)
    state: StateSection = StateSection()
    engine: EngineSection = EngineSection()
    distributed: DistributedSection = DistributedSection()
    predict: PredictSection = PredictSection()
    drift: DriftSection = DriftSection()
    http: HttpSection = HttpSection()
    log: LogSection = LogSection()

    @field_validator("events")
    @classmethod
    def _suits_algorithm(cls, events: EventsSection, info: ValidationInfo) -> EventsSection:
        """The settings of two tables are compared in the later one."""
        if "algorithm" not in info.data:
            return events
        algorithm = info.data["algorithm"]
        reasons = {"batch": refuse_batch(algorithm, events.batch)}
        if events.kind == "examples":
            reasons |= refuse_sizes(algorithm, events.support, events.query)
        problems = [
            (key, f"events.{key} = {getattr(events, key)}: {reason}")
            for key, reason in reasons.items()
            if reason
        ]
        if problems:
            text = "; ".join(text for _, text in problems)
            raise PydanticCustomError("combination", "{text}", {"text": text, "problems": problems})
        return events

    @field_validator("predict")
    @classmethod
    def _no_loop(cls, predict: PredictSection, info: ValidationInfo) -> PredictSection:
        reason = refuse_loop(predict, info.data["kafka"]) if "kafka" in info.data else ""
        if reason:
            text = f"predict.output_topic = {predict.output_topic!r}: {reason}"
            problems = [("output_topic", text)]
            raise PydanticCustomError("combination", "{text}", {"text": text, "problems": problems})
        return predict
