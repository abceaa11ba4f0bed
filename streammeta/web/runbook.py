"""The runbook as a page: where the alerts' `runbook_url` leads, a chapter an alert."""

import html
import re
from functools import lru_cache
from pathlib import Path
from typing import Final

from streammeta import dashboards

RUNBOOK: Final = Path(dashboards.__file__).parent / "prometheus" / "runbook.md"

_HEAD: Final = (
    "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
    "<title>streammeta: runbook</title><link rel=stylesheet href=/static/runbook.css><main>"
)


@lru_cache(maxsize=1)
def runbook_page() -> str:
    """Chapters with the anchors that the alerts name; the text as it is, marks of Markdown included."""
    title, *chapters = re.split(r"^## ", RUNBOOK.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return _HEAD + _text(title) + "".join(map(_chapter, chapters)) + "</main></html>"


def _chapter(chapter: str) -> str:
    name, _, text = chapter.partition("\n")
    return f'<h2 id="{html.escape(name.lower())}">{html.escape(name)}</h2>{_text(text)}'


def _text(text: str) -> str:
    return f"<pre>{html.escape(text.strip())}</pre>"
