"""Errors point at the user's line."""

import json

import pytest
import torch
from torch import Tensor, nn

from streammeta.config import load_config
from streammeta.errors import ConfigError
from streammeta.models.user_code import where
from tests.networks import network


class Wrong(nn.Module):
    """Multiplies matrices that do not fit, two frames below `forward`'s caller."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Fails inside torch."""
        prediction: Tensor = self.layer(torch.cat([x, x], 1))
        return prediction


def test_the_line_is_the_users() -> None:
    """Not torch's, in which it was raised, nor streammeta's, which called."""
    made = network(f"{__name__}:Wrong")
    with pytest.raises(RuntimeError) as caught:
        made.predict(made.initial, torch.ones(3, 2, dtype=torch.float64))
    line = Wrong.forward.__code__.co_firstlineno + 2
    assert where(caught.value) == f"test_user_code.py, line {line}, in forward"


def test_the_standard_library_is_nobodys_line() -> None:
    """An error inside it points at who called it."""
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads("{")
    assert where(caught.value).endswith("in test_the_standard_library_is_nobodys_line")


def test_nothing_is_said_where_no_line_is_the_users() -> None:
    """An error that was never raised has no line."""
    assert where(ValueError("never raised")) == ""


def test_no_line_of_this_program_is_the_users() -> None:
    """An error that streammeta raises itself, in whatever package, has no line of the user's."""
    with pytest.raises(ConfigError) as caught:
        load_config(None, ["kafka.topc=x"], {})
    own = where(caught.value)
    assert own.startswith("test_user_code.py"), own
