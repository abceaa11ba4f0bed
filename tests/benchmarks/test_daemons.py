"""The daemon that is measured: figures are of events that were learned, or there are none."""

from pathlib import Path

import pytest

from streammeta.benchmarks import daemons


def test_refused_events_are_no_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that set an event aside gives no figures: it says how many were refused, and why."""
    ended: dict[str, dict[str, int]] = {"dead_letters": {"undecodable": 0, "non_finite_update": 3}}
    monkeypatch.setattr(daemons, "run_daemon", lambda *_, **__: ended)
    with pytest.raises(RuntimeError, match=r"\{'non_finite_update': 3\}"):
        daemons.daemon(tmp_path, "off")
    ended["dead_letters"]["non_finite_update"] = 0
    assert daemons.daemon(tmp_path, "off").events == 0
