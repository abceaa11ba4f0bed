"""What the banner says of challengers: who, why, and what to do; nothing of one that keeps up."""

from typing import Any

import pytest

from streammeta.observe.challenger_trouble import challenger_troubles


def told(state: str, reason: str = "", **known: Any) -> dict[str, Any]:
    """As the status tells of it."""
    about = {"name": "bold", "config": "bold.toml", "deaths": 2, "behind": 4321, "behind_seconds": 0.0}
    return {**about, "state": state, "reason": reason, **known}


@pytest.mark.parametrize(
    ("one", "code", "words"),
    [
        (told("failed", "no such network"), "failed", "bold is given up: no such network | Mend bold.toml"),
        (
            told("stuck", "no turn for 70 s"),
            "stuck",
            "bold does not move: no turn for 70 s | After ten minutes",
        ),
        (
            told("waiting", "exit code 3"),
            "died",
            "bold died (2 times so far): exit code 3 | It is begun again",
        ),
        (told("starting", "exit code 3", deaths=1), "died", "(1 time so far)"),
        (told("behind", behind_seconds=601.0), "behind", "bold has been behind for 10 min: 4,321 records"),
    ],
)
def test_each_fault_is_told(one: dict[str, Any], code: str, words: str) -> None:
    """With its name, its cause and a remedy; that the champion goes on is never left in doubt."""
    (trouble,) = challenger_troubles([told("learning"), one])
    assert (trouble.code, trouble.level) == (f"challenger_{code}", "warning")
    assert words in f"{trouble.text} | {trouble.remedy}"
    assert trouble.remedy.endswith("The champion learns and answers as ever.")


@pytest.mark.parametrize(
    "one", [told("learning"), told("starting"), told("behind", behind_seconds=590.0), told("ended")]
)
def test_what_is_no_fault_is_not_told(one: dict[str, Any]) -> None:
    """One that learns, begins, catches up, or is at its end."""
    assert not [*challenger_troubles([one])]
