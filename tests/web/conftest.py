"""The browser that the tests of the page look with."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """One browser for all tests of a module."""
    from tests.web.browser import chromium  # the other modules here need no playwright

    with chromium() as browser:
        yield browser
