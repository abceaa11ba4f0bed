"""A real Chromium that may talk to this machine alone."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Request, sync_playwright

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run"),
)

PATIENCE_SECONDS = 180.0
"""For whatever shall be seen: a page on a busy machine may take a minute to draw."""


def found_chromium() -> str | None:
    """Where a Chromium is, if there is one."""
    named = os.environ.get("CHROMIUM")
    return named or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )


@contextmanager
def chromium() -> Iterator[Browser]:
    """One browser; the caller is skipped where there is none."""
    path = found_chromium()
    if path is None:
        pytest.skip("no Chromium on this machine (set CHROMIUM to its path)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


class Watched:
    """A page, and everything that it should not have done.

    Attributes:
        page: The page.
        problems: Errors on its console, exceptions, refused code, requests to other machines.
    """

    def __init__(self, page: Page, expected: tuple[str, ...] = ()) -> None:
        self.page = page
        self.problems: list[str] = []
        self._expected = expected
        page.on("console", lambda said: self._note(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self._note(str(error)))
        page.on("request", self._judge)

    def _note(self, problem: str) -> None:
        if not any(words in problem for words in self._expected):
            self.problems.append(problem)

    def _judge(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob", "file") and address.hostname != "127.0.0.1":
            self.problems.append(f"request to {request.url}")

    def shows(self, selector: str, words: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until the element holds these words."""
        self.page.wait_for_function(
            "([s, w]) => [...document.querySelectorAll(s)].some((e) => e.textContent.includes(w))",
            arg=[selector, words],
            timeout=1000 * seconds,
        )


@contextmanager
def opened(
    browser: Browser, address: str, *, width: int = 1440, height: int = 900, expected: tuple[str, ...] = ()
) -> Iterator[Watched]:
    """The page at this address, in a profile of its own; fails the test where it misbehaved.

    Args:
        browser: The browser.
        address: What to open.
        width: Of the window, in pixels.
        height: Of the window, in pixels.
        expected: Console errors that belong to the test.
    """
    context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
    context.set_default_timeout(1000 * PATIENCE_SECONDS)
    watched = Watched(context.new_page(), expected)
    watched.page.goto(address)
    yield watched
    assert watched.problems == []
    context.close()
