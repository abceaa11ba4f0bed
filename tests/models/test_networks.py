"""Built-in networks: sizes by an independent count, and what batch and group norm depend on."""

import pytest
import torch
from torch import Tensor, nn

from streammeta.models import conv4, linear, mlp


def count(module: nn.Module) -> int:
    """Numbers to learn."""
    return sum(parameter.numel() for parameter in module.parameters())


def images(examples: int, size: int = 16, channels: int = 1) -> Tensor:
    """Random images."""
    return torch.randn(examples, channels, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [([1, 1], 2), ([3, 5, 2], 3 * 5 + 5 + 5 * 2 + 2), ([1, 40, 40, 1], 80 + 1640 + 41)],
)
def test_mlp_has_a_weight_per_edge_and_a_bias_per_unit(sizes: list[int], expected: int) -> None:
    """Counted by hand."""
    assert count(mlp(sizes)) == expected
    assert mlp(sizes)(torch.ones(7, sizes[0])).shape == (7, sizes[-1])


def test_mlp_is_relu_between_affine_maps_and_none_at_the_end() -> None:
    """The layers one after the other; the output may be negative."""
    kinds = [type(layer) for layer in mlp([1, 2, 3, 1]).children()]
    assert kinds == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]


def test_mlp_needs_two_sizes() -> None:
    """And says what it got."""
    with pytest.raises(ValueError, match=r"sizes = \[4\]"):
        mlp([4])


def test_linear_is_one_affine_map() -> None:
    """Inputs × outputs weights and a bias per output."""
    assert count(linear(3, 2)) == 8
    assert linear(3, 2)(torch.ones(4, 3)).shape == (4, 2)


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize(
    ("ways", "channels", "inputs", "size"), [(5, 8, 1, 28), (3, 2, 3, 16), (2, 4, 1, 33), (20, 64, 1, 28)]
)
def test_conv4_count_and_shape(norm: str, ways: int, channels: int, inputs: int, size: int) -> None:
    """Nine weights per pair of channels, bias, scale and shift per channel, an affine map at the end."""
    network = conv4(ways=ways, channels=channels, inputs=inputs, image_size=size, norm=norm)  # type: ignore[arg-type]  # parametrize loses the literal
    blocks = 9 * channels * (inputs + 3 * channels) + 4 * 3 * channels
    side = size // 2 // 2 // 2 // 2
    assert count(network) == blocks + channels * side * side * ways + ways
    assert network(images(3, size, inputs)).shape == (3, ways)


def test_conv4_default_is_the_few_shot_network() -> None:
    """64 channels, 28 × 28 grey images, 5 ways: 112,261 numbers."""
    assert count(conv4()) == 112_261 == 640 + 3 * (36_864 + 64) + 4 * 128 + 325


def test_batch_norm_looks_at_the_whole_batch() -> None:
    """An example's prediction changes with the others: the transductive setting."""
    torch.manual_seed(0)
    network, x = conv4(channels=4, image_size=16), images(6)
    other = x.clone()
    other[1:] += 3 * images(5)
    assert (network(x)[0] - network(other)[0]).abs().max() > 1e-3


def test_batch_norm_keeps_nothing() -> None:
    """Predicting leaves no trace, and training or evaluating makes no difference."""
    torch.manual_seed(0)
    network, x = conv4(channels=4, image_size=16), images(6)
    first = network(x)
    network(100 * images(4))
    assert torch.equal(network(x), first)
    assert torch.equal(network.eval()(x), first)
    assert [*network.buffers()] == []


def test_group_norm_looks_at_each_example_alone() -> None:
    """The others may be anything."""
    torch.manual_seed(0)
    network, x = conv4(channels=4, image_size=16, norm="group"), images(6)
    other = x.clone()
    other[1:] += 3 * images(5)
    torch.testing.assert_close(network(x)[0], network(other)[0])
    assert (network(x)[1] - network(other)[1]).abs().max() > 1e-3


def test_conv4_names_what_it_cannot_be() -> None:
    """Too small an image, and an unknown normalisation."""
    with pytest.raises(ValueError, match="image_size must be 16 or more, got 15"):
        conv4(image_size=15)
    with pytest.raises(ValueError, match='norm must be "batch" or "group", got \'layer\''):
        conv4(norm="layer")  # type: ignore[arg-type]  # on purpose
