"""One suite per protocol; every implementation enrols in the tests of its package."""

import pytest

pytest.register_assert_rewrite("tests.contracts.store")
