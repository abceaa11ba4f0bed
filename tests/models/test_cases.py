"""Networks of users that were learned with a hidden state, or otherwise at each start: not any more."""

import sys

import pytest
import torch

from streammeta.config import load_config
from streammeta.errors import ConfigError
from streammeta.runtime.blueprint import Blueprint, build_blueprint
from tests.models.table import FAILED_ONCE

pytestmark = pytest.mark.skipif(not FAILED_ONCE.exists(), reason=f"{FAILED_ONCE} is not here")


@pytest.fixture(autouse=True)
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their file can be imported, as a user's beside the configuration."""
    monkeypatch.syspath_prepend(FAILED_ONCE.parent)
    monkeypatch.delitem(sys.modules, "models", raising=False)


def blueprint_of(name: str) -> Blueprint:
    """What a daemon would compute with."""
    return build_blueprint(load_config(None, [f"model.factory=models:{name}", "model.args={}"], {}))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("RunningMean", r"each call changes the buffer mean"),
        ("spectral", r"(?s)spectral_norm.*power iteration"),
    ],
)
def test_a_hidden_state_is_refused_at_start(name: str, said: str) -> None:
    """With what holds it by name, and no event is blamed."""
    with pytest.raises(ConfigError, match=said):
        blueprint_of(name)


def test_what_numpy_draws_is_the_same_at_each_start() -> None:
    """Two starts from one seed predict the same, whatever was drawn between them."""
    first = blueprint_of("RandomFeatures").network
    torch.rand(3)
    second = blueprint_of("RandomFeatures").network
    x = torch.linspace(-1, 1, 12).reshape(4, 3)
    assert torch.equal(first.predict(first.initial, x), second.predict(second.initial, x))
    assert first.predict(first.initial, x).abs().max() > 0
