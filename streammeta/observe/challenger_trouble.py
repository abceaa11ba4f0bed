"""What is wrong with the challengers beside a learner, for its banner; it goes on, whatever they do."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from streammeta.observe.finding import Trouble, span
from streammeta.wording import counted

BEHIND_SECONDS: Final = 600.0
"""As long as the alert waits."""
_GOES_ON: Final = "The champion learns and answers as ever."


def challenger_troubles(challengers: Iterable[Mapping[str, Any]]) -> Iterator[Trouble]:
    """Of challengers as `/api/v1/status` tells of them: one finding for each that does not keep up."""
    for one in challengers:
        name, state, reason = one["name"], one["state"], f": {one['reason']}" if one["reason"] else ""
        log = f"The log has more, in lines with learner={name}."
        if state == "failed":
            yield Trouble(
                "challenger_failed",
                "warning",
                f"Challenger {name} is given up{reason}",
                f"Mend {one['config']} or its model, then start this daemon again; its state stands as of "
                f"its last checkpoint. {_GOES_ON}",
            )
        elif state == "stuck":
            yield Trouble(
                "challenger_stuck",
                "warning",
                f"Challenger {name} does not move{reason}",
                f"After ten minutes it is ended and begun again. See that there is a core for it. "
                f"{log} {_GOES_ON}",
            )
        elif state in ("waiting", "starting") and reason:
            yield Trouble(
                "challenger_died",
                "warning",
                f"Challenger {name} died ({counted(one['deaths'], 'time')} so far){reason}",
                f"It is begun again; after six deaths in a row without an event learned it is given up. "
                f"{log} {_GOES_ON}",
            )
        elif state == "behind" and one["behind_seconds"] > BEHIND_SECONDS:
            yield Trouble(
                "challenger_behind",
                "warning",
                f"Challenger {name} has been behind for {span(one['behind_seconds'])}: "
                f"{counted(one['behind'], 'record')}",
                "Give it a core, run fewer challengers, or compile its steps (engine.compile); do not "
                f"promote it before it has caught up. {_GOES_ON}",
            )
