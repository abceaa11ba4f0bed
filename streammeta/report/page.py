"""The report as one HTML file: the live page with its code, its style and a run's numbers inside.

The file asks for nothing from elsewhere and its policy forbids it: only the code whose hashes it names runs.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from datetime import datetime
from html import escape
from typing import Any, Final

import msgspec

from streammeta.report.run import Run, facts, summary
from streammeta.web.app import STATIC
from streammeta.web.shown import columns_of, curves_of, stored_data

_IMPORT: Final = re.compile(r'^import (\{.*\}) from "\./(.+)";$', re.MULTILINE)
_EXPORT: Final = re.compile(r"^export ((?:async )?(?:function|class|const) (\w+))", re.MULTILINE)
_HEAD: Final = re.compile(r'^<(?:link rel="(?:icon|stylesheet)"|script).*\n', re.MULTILINE)


def report_page(run: Run, now: datetime, others: Sequence[Run] = ()) -> str:
    """The whole file; `others`: runs whose losses are drawn over this one's."""
    style = "\n".join((STATIC / name).read_text() for name in ("vendor/uplot/uPlot.min.css", "page.css"))
    scripts = [(STATIC / "vendor/uplot/uPlot.iife.min.js").read_text(), bundle("main.js")]
    icon = base64.b64encode((STATIC / "icon.svg").read_bytes()).decode()
    head = [
        f'<meta http-equiv="content-security-policy" content="{_policy(style, scripts)}">',
        f'<link rel="icon" href="data:image/svg+xml;base64,{icon}">',
        f"<style>{style}</style>",
    ]
    data = msgspec.json.encode(report_data(run, now, others)).decode().replace("<", "\\u003c")
    body = [
        f'<script id="report-data" type="application/json">{data}</script>',
        *(f"<script>{script}</script>" for script in scripts),
    ]
    page = _HEAD.sub("", (STATIC / "index.html").read_text())
    page = page.replace(
        "<title>streammeta</title>", f"<title>{escape(_names(run, others))} · streammeta</title>"
    )
    before, rest = page.split("</head>")
    inside, after = rest.split("</body>")
    return "\n".join([before.rstrip(), *head, "</head>" + inside.rstrip(), *body, "</body>" + after])


def _names(run: Run, others: Sequence[Run]) -> str:
    return " and ".join(one.name for one in (run, *others))


def report_data(run: Run, now: datetime, others: Sequence[Run] = ()) -> dict[str, Any]:
    """What the page reads instead of the API."""
    events, held = run.checkpoint.progress.events, run.checkpoint.quarantine
    return {
        "status": summary(run),
        "history": curves_of(run.history),
        "tasks": [stored_data(task, stats, events, held.get(task)) for task, stats in run.tasks],
        "known": run.known,
        "settings": run.settings,
        "facts": facts(run, now),
        "learners": [_learner(one) for one in (run, *others)] if others else [],
    }


def _learner(run: Run) -> dict[str, Any]:
    """A run as it stands beside others: as a challenger does on the live page."""
    events = run.history.events
    return {
        **summary(run),
        "name": run.name,
        "config": run.checkpoint.origin.config_hash[:16],
        "columns": columns_of(events.columns, events.merged()),
    }


def bundle(entry: str) -> str:
    """The modules that `entry` needs, each a function that returns what it exports, in one script."""
    parts: dict[str, str] = {}
    _gather(entry, parts)
    return '"use strict";\nconst modules = {};\n' + "\n".join(parts.values())


def _gather(name: str, parts: dict[str, str]) -> None:
    """Add the module, behind those that it imports."""
    text = (STATIC / "js" / name).read_text()
    for _, needed in _IMPORT.findall(text):
        if needed not in parts:
            _gather(needed, parts)
    exported = ", ".join(found for _, found in _EXPORT.findall(text))
    text = _IMPORT.sub(r'const \1 = modules["\2"];', text)
    text = _EXPORT.sub(r"\1", text)
    parts[name] = f'modules["{name}"] = (() => {{\n{text}\nreturn {{ {exported} }};\n}})();'


def _policy(style: str, scripts: list[str]) -> str:
    code = " ".join(map(_hash, scripts))
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {code}; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
