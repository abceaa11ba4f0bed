"""A check: what was looked at, whether it fits, in words; and how a program ends that made some."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from streammeta.errors import StreammetaError

Verdict = Literal["ok", "warning", "fault"]

_FIRST_CODES: Final = (78, 77, 69, 65)
"""Exit codes in the order in which faults are mended: nothing can be asked of a broker that refuses."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: Of the thing.
        verdict: "ok": it fits; "warning": the daemon runs, and may lose something; "fault": it would stop.
        words: What was found; of a fault with the field and its value.
        remedy: What to do, where the words do not say so themselves.
        exit_code: How the daemon would end, of a fault.
        facts: The same as values, for programs.
    """

    name: str
    verdict: Verdict
    words: str
    remedy: str = ""
    exit_code: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)


def ok(name: str, words: str, **facts: Any) -> Check:
    """It fits."""
    return Check(name, "ok", words, facts=facts)


def warning(name: str, words: str, remedy: str = "", **facts: Any) -> Check:
    """It may be meant so."""
    return Check(name, "warning", words, remedy, facts=facts)


def fault(name: str, error: StreammetaError, **facts: Any) -> Check:
    """What the daemon would end with; its message names the remedy."""
    return Check(name, "fault", str(error), exit_code=error.exit_code, facts=facts)


def exit_code(checks: Iterable[Check]) -> int:
    """That of the first fault: configuration and model, then refusals, the broker, the state; 0 without one.

    >>> exit_code([Check("state", "fault", "", exit_code=65), Check("topic", "fault", "", exit_code=69)])
    69
    """
    codes = [check.exit_code for check in checks if check.verdict == "fault"]
    return min(codes, key=lambda code: (*_FIRST_CODES, code).index(code), default=0)
