"""One embedded broker for the tests that send for real."""

from collections.abc import Iterator

import pytest

from streammeta.stream.embedded.broker import EmbeddedBroker, broker_available


@pytest.fixture(scope="session")
def broker() -> Iterator[str]:
    """Its `host:port`; every test has a topic of its own."""
    if not broker_available():
        pytest.skip("no embedded broker for this platform")
    with EmbeddedBroker() as embedded:
        yield embedded.bootstrap_servers
