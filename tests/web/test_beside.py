"""The panel of a champion and its challengers, in a real Chromium."""

import math
import time
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import Browser

from tests.observe.outcomes import learned, turned
from tests.web.browser import opened
from tests.web.shown import Daemon

EVENTS = 200


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    """A champion that has learned."""
    daemon = Daemon(now=time.time)
    daemon.server.start()
    daemon.tell(turned(lag=[3]))
    for number in range(1, EVENTS + 1):
        daemon.tell(learned(events=number, task=f"task-{number % 7}", task_events=number // 7 + 1))
    yield daemon
    daemon.status.stop()
    daemon.server.stop()


def challenger(name: str, state: str, reason: str = "", **known: Any) -> dict[str, Any]:
    """As the status tells of it."""
    losses = {phase: {"first": 3.0, "now": 0.5, "window": 0.25} for phase in ("meta", "adapted", "memory")}
    told = {
        "events": EVENTS - 50,
        "events_per_second": 812.5,
        "losses": losses,
        "adaptation_gain": 0.125,
        "outcomes": {"dead_letter": 2},
    }
    return {
        "name": name,
        "config": f"{name}.toml",
        "algorithm": "local_moml",
        "state": state,
        "reason": reason,
        "deaths": 1 if reason else 0,
        "behind": 1234,
        "behind_seconds": 12.0,
        **(told if state == "learning" else dict.fromkeys(told)),
        **known,
    }


def curve(name: str, first: int, step: int) -> dict[str, Any]:
    """A wave over some events."""
    events = range(first, EVENTS, step)
    losses = [1.0 + math.sin((event + first) / 20) for event in events]
    phases = ("fading_meta", "fading_adapted", "fading_memory")
    return {"name": name, "columns": {"events": list(events), **dict.fromkeys(phases, losses)}}


def show(daemon: Daemon) -> None:
    """Two challengers; one has a curve, and one has nothing but words."""
    long = "the model package 'x' cannot be imported: " + "averylongpath/" * 12
    daemon.challengers[:] = [challenger("faster", "learning"), challenger("broken", "failed", long)]
    daemon.learners[:] = [curve("champion", 1, 1), curve("faster", 20, 3)]


def test_no_panel_without_challengers(daemon: Daemon, browser: Browser) -> None:
    """A champion alone is shown as ever."""
    with opened(browser, daemon.server.address) as watched:
        watched.shows("#tiles", str(EVENTS))
        assert watched.page.locator("#beside").is_hidden()


@pytest.mark.parametrize("width", [390, 1440])
def test_challengers_stand_beside_the_champion(daemon: Daemon, browser: Browser, width: int) -> None:
    """States, why one fails, who is better, and the curves of both; nothing is wider than the page."""
    show(daemon)
    with opened(browser, daemon.server.address, width=width) as watched:
        page = watched.page
        watched.shows('[data-learner="faster"]', "1,234")
        watched.shows(".words", "cannot be imported")
        watched.shows('[data-chart="beside-adapted"] .readings', "faster")
        assert page.locator('[data-learner="broken"] .state').inner_text() == "failed"
        assert page.locator('[data-learner="faster"] .strong').count() == 2
        assert page.locator('[data-chart^="beside"] canvas').count() == 2
        watched.shows("#banner .trouble", "Challenger broken is given up: the model package 'x'")
        watched.shows("#banner .trouble", "Mend broken.toml or its model")
        assert page.locator("#banner .trouble").count() == 1
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        daemon.challengers[:] = [challenger("faster", "stuck", "no turn for 70 s")]
        watched.shows("#banner .warning b", "Challenger faster does not move: no turn for 70 s")
        daemon.challengers.clear()
        page.wait_for_selector("#beside", state="hidden")
        page.wait_for_selector("#banner .trouble", state="detached")
