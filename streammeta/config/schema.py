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
from streammeta.config.outer import OuterOptimiser, SgdSection
from streammeta.config.section import Free, FreeWhenReady, Section
from streammeta.config.values import ClientSettings, Directory, ImportPath, LossName, ServerList, TopicName

DEFAULT_FACTORY = "streammeta.models:mlp"


def _named(default: str) -> Callable[[Any], Any]:
    """A table without `name` is that of `default`."""
    return lambda table: {"name": default, **table} if isinstance(table, Mapping) else table


def _args(known: dict[str, Any]) -> dict[str, JsonValue]:
    return {"sizes": [1, 40, 40, 1]} if known.get("factory") == DEFAULT_FACTORY else {}


class KafkaSection(Section):
    """Where events come from, and where those that cannot be used go."""

    bootstrap_servers: Free[ServerList] = Field(
        "localhost:9092", description="Brokers to ask first: host:port, several separated by commas."
    )
    topic: TopicName = Field("tasks", description="The topic to learn from; partitioned by task.")
    group_id: Free[str] = Field(
        "streammeta",
        min_length=1,
        description="Offsets are also committed to this group, for lag tools; recovery uses the state's own.",
    )
    start: Free[Literal["earliest", "latest"]] = Field(
        "earliest", description="Where a new state begins to read."
    )
    on_lost_offsets: Free[Literal["fail", "earliest", "latest"]] = Field(
        "fail", description="What to do when the log no longer holds the next offset."
    )
    dead_letter_topic: Free[TopicName] = Field(
        default_factory=lambda known: known.get("topic", "tasks") + ".dlq",
        validate_default=True,
        description="Where records that cannot be used are put; when absent, the topic's name with .dlq.",
    )
    max_event_bytes: Free[int] = Field(
        8_388_608,
        ge=1,
        le=2**31 - 1,
        description="Bytes of the largest value that is used; larger ones are dead letters.",
    )
    max_batch_bytes: Free[int] = Field(
        67_108_864,
        ge=1,
        le=2**31 - 1,
        description=("Bytes that a compressed batch may expand to; the records beyond are dead letters."),
    )
    on_corrupt: Free[Literal["fail", "skip"]] = Field(
        "fail",
        description=(
            "What to do when a batch in the log is damaged: fail, or skip it with a dead letter that says so."
        ),
    )
    connect_timeout_seconds: Free[float] = Field(
        30.0, gt=0, description="Seconds that the first connection may take before the daemon gives up."
    )
    refused_grace_seconds: Free[float] = Field(
        60.0,
        ge=0,
        description=(
            "Seconds that a refused login or certificate is borne, for a rotation's sake; then exit 77."
        ),
    )
    client: Free[ClientSettings] = Field(
        {},
        description="Passed to kafka-python as they are: security_protocol, ssl_*, sasl_*, *_ms, *_bytes.",
        examples=[
            {
                "security_protocol": "SASL_SSL",
                "ssl_cafile": "/etc/streammeta/ca.pem",
                "sasl_mechanism": "SCRAM-SHA-512",
                "sasl_plain_username": "streammeta",
            }
        ],
    )

    @field_validator("dead_letter_topic")
    @classmethod
    def _elsewhere(cls, name: str, info: ValidationInfo) -> str:
        if name == info.data.get("topic"):
            raise ValueError("must differ from kafka.topic, or dead letters would be read as events")
        return name


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


class EventsSection(Section):
    """How records become episodes."""

    kind: Literal["episode", "examples"] = Field(
        "episode",
        description="What a record's value holds: a ready episode, or examples that are cut into episodes.",
    )
    support: FreeWhenReady[int] = Field(
        10, ge=1, description="Examples in the support set of an episode that is cut."
    )
    query: FreeWhenReady[int] = Field(
        10, ge=1, description="Examples in its query set, newer than those of the support."
    )
    stride: FreeWhenReady[int] = Field(
        default_factory=lambda known: known.get("query", 10),
        validate_default=True,
        ge=1,
        description=(
            "New examples that make a task's next episode, query to support + query; when absent, query."
        ),
    )
    expire_after_events: Free[int] = Field(
        0,
        ge=0,
        description=(
            "Records after which the examples of a task that never had enough are dropped, counted; 0: never."
        ),
    )
    label_wait_events: Free[int] = Field(
        10_000,
        ge=0,
        description=(
            "Records that x waits for the y of the same id, or y for x; then it is dropped, counted. "
            "0: such records are dead letters."
        ),
    )
    dedupe_window_events: Free[int] = Field(
        0,
        ge=0,
        le=10_000_000,
        description=(
            "Records during which an event is known by its ce_id: one sent again is passed over, counted as "
            "duplicate. 200 bytes of memory each. 0: never."
        ),
    )
    batch: int = Field(
        1,
        ge=1,
        description="Events of different tasks per meta-update, an iteration; 1: each alone, in order.",
    )
    batch_linger_seconds: Free[float] = Field(
        0.5,
        gt=0,
        description="Seconds that an iteration waits for more events since its first. Only with batch > 1.",
    )
    forgetting_sets: Free[int] = Field(
        0,
        ge=0,
        description=(
            "Earlier query sets kept per task; one is judged again at each visit: forgetting. 0: none."
        ),
    )
    max_examples: Free[int] = Field(
        10_000, ge=1, description="Events with a larger set are dead letters: its activations fill memory."
    )

    memory_norm_limit: Free[float] = Field(
        0.0,
        ge=0,
        description=(
            "Norm of a task's own parameters (memory_norm in `tasks list`) that no visit may take them "
            "beyond: such an event is a dead letter, as all of its task are until its release. 0: none."
        ),
    )

    @field_validator("stride")
    @classmethod
    def _between(cls, stride: int, info: ValidationInfo) -> int:
        support, query = info.data.get("support"), info.data.get("query")
        if support is not None and query is not None and not query <= stride <= support + query:
            raise ValueError(
                f"must be events.query = {query} (else an example is in two query sets) to events.support + "
                f"events.query = {support + query} (else examples are passed over)"
            )
        return stride


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
