"""Head and body of a flat parameter vector."""

import pytest
import torch

from streammeta.algorithms.split import Split, head_split
from streammeta.errors import ConfigError
from streammeta.models import mlp
from streammeta.models.network import Parameter

LAYOUT = tuple(Parameter(name, tuple(p.shape)) for name, p in mlp([2, 3, 4, 1]).named_parameters())


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (None, Split((9 + 16, 5), (False, True))),
        ("4.*", Split((9 + 16, 5), (False, True))),
        ("2.*", Split((9, 16, 5), (False, True, False))),
        ("*.bias", Split((6, 3, 12, 4, 4, 1), (False, True, False, True, False, True))),
        ("[02].weight", Split((6, 3, 12, 4 + 5), (True, False, True, False))),
    ],
)
def test_a_pattern_chooses_parameters_by_name(pattern: str | None, expected: Split) -> None:
    """Neighbours join; without a pattern the last module is the head."""
    assert head_split(LAYOUT, pattern) == expected


def test_a_model_with_one_module_splits_at_its_last_parameter() -> None:
    """Parameters that no module owns are taken by name alone."""
    layout = (Parameter("scale", (2,)), Parameter("shift", (3,)))
    assert head_split(layout) == Split((2, 3), (False, True))


@pytest.mark.parametrize("pattern", [None, "2.*", "*.bias"])
def test_parts_are_joined_again(pattern: str | None) -> None:
    """The head is what the names say, and `join` is the inverse of `parts`."""
    split = head_split(LAYOUT, pattern)
    flat = torch.arange(30.0)
    body, head = split.parts(flat)
    assert head.numel() == split.head_size
    assert torch.equal(split.join(body, head), flat)
    assert sorted([*body.tolist(), *head.tolist()]) == flat.tolist()
    if pattern == "2.*":
        assert torch.equal(head, torch.arange(9.0, 25.0))


@pytest.mark.parametrize(("pattern", "words"), [("9.*", "no parameter"), ("*", "every parameter")])
def test_a_head_of_nothing_or_of_everything_is_refused(pattern: str, words: str) -> None:
    """The message names setting, value and the names to choose from."""
    with pytest.raises(ConfigError, match=rf'algorithm\.head = ".*": {words} has such a name.*4\.bias'):
        head_split(LAYOUT, pattern)
