"""How long a challenger has been behind, as the status tells it."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from streammeta.config import load_config
from streammeta.programs.challengers.champion import BEHIND_RECORDS, WithChallengers
from streammeta.programs.challengers.keeping import Standing
from streammeta.programs.challengers.plan import challengers_of
from streammeta.programs.challengers.report import Report


def test_it_is_behind_since_the_first_report_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seconds of being behind without a break; none once it has caught up."""
    path = tmp_path / "bold.toml"
    path.write_text(f'[state]\ndir = "{tmp_path / "bold"}"\n')
    config = load_config(None, [f"state.dir={tmp_path / 'state'}"], {})
    company = WithChallengers(config, challengers_of(config, [path]), path=None, overrides=())
    applied, seconds = 10 * BEHIND_RECORDS, 100.0
    monkeypatch.setattr(company, "_feed", SimpleNamespace(applied={0: applied}, trim=lambda _: None))
    monkeypatch.setattr("time.monotonic", lambda: seconds)
    (keeper,) = company._keepers
    keeper.standing = Standing("running")

    def reports(position: int) -> tuple[str, float]:
        keeper.report = Report(status={"events": position}, positions={0: position})
        keeper._told()
        (told,) = company.challengers()
        return told["state"], told["behind_seconds"]

    assert reports(applied - BEHIND_RECORDS) == ("learning", 0.0)
    assert reports(applied - BEHIND_RECORDS - 1) == ("behind", 0.0)
    seconds = 130.0
    assert reports(applied - 2 * BEHIND_RECORDS) == ("behind", 30.0)
    assert reports(applied) == ("learning", 0.0)
    seconds = 140.0
    assert reports(0) == ("behind", 0.0)
