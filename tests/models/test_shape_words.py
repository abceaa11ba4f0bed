"""A shape that does not fit is told in the user's words."""

import pytest
import torch
from torch import nn

from streammeta.models.shape_words import shape_words
from tests.networks import network

CONV = ("streammeta.models:conv4", {"ways": 3, "channels": 2, "inputs": 1, "image_size": 16})


def recurrent() -> nn.Module:
    """Begins with a recurrent layer, and fails after it."""
    return nn.LSTM(2, 3)


@pytest.mark.parametrize(
    ("model", "shape", "said"),
    [
        (
            ("streammeta.models:mlp", {"sizes": [2, 3, 1]}),
            (4, 3),
            "x has 3 features an example, the model takes 2",
        ),
        (
            ("streammeta.models:mlp", {"sizes": [2, 3, 1]}),
            (4,),
            "x has 1 feature an example, the model takes 2",
        ),
        (CONV, (4, 3, 16, 16), "x has 3 channels an example, the model takes 1"),
        (CONV, (4, 16, 16, 1), "x has 16 channels an example, the model takes 1"),
        (CONV, (4, 256), "an example of x has shape [256], layer 0 (Conv2d) takes (channels, height, width)"),
        (
            CONV,
            (4, 1, 32, 32),
            "an example of x of shape [1, 32, 32] gives 8 features to layer 17 (Linear), which takes 2",
        ),
        (
            ("tests.networks:embedded", {}),
            (4, 2),
            "layer 0 (Embedding) takes whole numbers, x holds fractions: send integers",
        ),
        ((f"{__name__}:recurrent", {}), (4, 3, 5), "x has 5 features an example, the model takes 2"),
        (("streammeta.models:mlp", {"sizes": [2, 3, 1]}), (4, 2), ""),
    ],
)
def test_what_does_not_fit(model: tuple[str, dict[str, object]], shape: tuple[int, ...], said: str) -> None:
    """Features, channels, axes, image sizes; nothing where all fits."""
    made = network(*model)
    assert shape_words(made, made.initial, torch.zeros(shape, dtype=torch.float64)) == said
    assert not any(layer._forward_pre_hooks for layer in made.module.modules())
