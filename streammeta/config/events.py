"""What can be set about how records become episodes: `[events]`."""

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from streammeta.config.section import Free, FreeWhenReady, Section


class EventsSection(Section):
    """How records become episodes."""

    kind: Literal["episode", "examples"] = Field(
        "episode",
        description="What a record's value holds: a ready episode, or examples that are cut into episodes.",
    )
    decoder: Free[str] = Field(
        "",
        description=(
            'A "package.module:callable" that reads records of another form, such as Avro: a record -> '
            '{"task"?, "time"?, "x", "y"}, or sets named as in an episode; empty: as the README says.'
        ),
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
    tombstones: Free[Literal["forget", "dead_letter"]] = Field(
        "forget",
        description=(
            "What a record without a value does: all that is kept of its task is forgotten, in the stream's "
            "order, though the meta-model keeps what it learned from it; or it is a dead letter."
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
