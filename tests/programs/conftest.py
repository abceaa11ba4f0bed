"""Programs set up logging for their process."""

from collections.abc import Iterator

import pytest

from tests.logs import logging_as_before


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Afterwards handlers, levels and structlog as they were."""
    with logging_as_before():
        yield
