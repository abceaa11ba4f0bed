"""What `[drift]` says: whether it is noticed that tasks get worse, and what is done then."""

from typing import Literal

from pydantic import Field

from streammeta.config.section import Free, Section


class DriftSection(Section):
    """Whether it is noticed that the losses of a task, or of the stream, got worse."""

    detector: Free[Literal["off", "page_hinkley", "adwin"]] = Field(
        "off",
        description=(
            "Looks at the loss that a task's visits show before they are learned from, and at that of the "
            "stream. page_hinkley is quicker; adwin makes fewer false alarms where losses vary much."
        ),
    )
    action: Free[Literal["none", "restart_memory"]] = Field(
        "none",
        description="What a detection does to its task: nothing, or its next visit counts as a first one.",
    )
    min_visits: Free[int] = Field(
        20, ge=2, description="Visits before the first look, and after each detection."
    )
    delta: Free[float] = Field(
        0.5,
        ge=0,
        description=(
            "page_hinkley: rise that is borne, in units of a task's own noise (of the cube root of its "
            "loss), at beta = 1; up to 1.85 times as much for a memory that is slower."
        ),
    )
    threshold: Free[float] = Field(
        8.5,
        gt=0,
        description=("page_hinkley: sum of the rises beyond delta, in these units, that is drift; likewise."),
    )
    confidence: Free[float] = Field(
        0.12,
        gt=0,
        lt=1,
        description=(
            "adwin: chance of a cut in a window without change, by a bound that is far from sharp; smaller "
            "is surer. Taken for less where beta is below 1."
        ),
    )
    check_visits: Free[int] = Field(
        1, ge=1, description="adwin: visits between two looks; each takes some 10 µs."
    )
