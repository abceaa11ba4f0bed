"""Losses against formulas written out in float64, and shapes that must not broadcast."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from streammeta.models.losses import CLASS_LOSSES, LOSSES, accuracy, bce, cross_entropy, huber, mse

DRAWS = np.random.default_rng(5)
LOGITS = DRAWS.normal(size=(6, 3)) * 3
REAL = DRAWS.normal(size=(6, 3)) * 3
SHARES = DRAWS.random(size=(6, 3))
CLASSES = np.array([0, 2, 1, 1, 0, 2])

Numbers = NDArray[np.float64]


def tensor(values: NDArray[np.generic]) -> Tensor:
    """As PyTorch sees it."""
    return torch.from_numpy(values)


def assert_is(loss: Tensor, expected: float) -> None:
    """One number, equal to 14 digits."""
    assert loss.shape == ()
    assert expected > 1e-3
    assert loss.item() == pytest.approx(expected, rel=1e-14)


def test_mse_is_the_mean_square() -> None:
    """Over all numbers, not over examples."""
    assert_is(mse(tensor(LOGITS), tensor(REAL)), float(np.mean((LOGITS - REAL) ** 2)))


def test_huber_is_square_near_zero_and_absolute_beyond() -> None:
    """½d² up to 1, then |d| − ½; both sides of the bend are drawn."""
    distance = np.abs(LOGITS - REAL)
    assert 0 < (distance < 1).sum() < distance.size
    expected = np.where(distance < 1, 0.5 * distance**2, distance - 0.5).mean()
    assert_is(huber(tensor(LOGITS), tensor(REAL)), float(expected))


def test_bce_is_that_of_the_sigmoid() -> None:
    """−y log σ(z) − (1−y) log(1−σ(z)), for soft targets too."""
    sigmoid = 1 / (1 + np.exp(-LOGITS))
    expected = -(SHARES * np.log(sigmoid) + (1 - SHARES) * np.log(1 - sigmoid)).mean()
    assert_is(bce(tensor(LOGITS), tensor(SHARES)), float(expected))


def test_cross_entropy_is_that_of_the_softmax() -> None:
    """Minus the mean log-probability of the target class."""
    shares = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
    expected = -np.log(shares[np.arange(6), CLASSES]).mean()
    assert_is(cross_entropy(tensor(LOGITS), tensor(CLASSES)), float(expected))


def test_cross_entropy_of_pixels() -> None:
    """Classes along the second axis, targets without it: each place counts alike."""
    logits = DRAWS.normal(size=(2, 3, 4))
    target = DRAWS.integers(0, 3, size=(2, 4))
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    expected = -np.take_along_axis(logs, target[:, None], 1).mean()
    assert_is(cross_entropy(tensor(logits), tensor(target)), float(expected))


@pytest.mark.parametrize("name", ["mse", "huber", "bce"])
@pytest.mark.parametrize("shape", [(6,), (1, 3), (6, 1), (3,), (), (6, 3, 1)])
def test_shapes_that_would_broadcast_are_refused(name: str, shape: tuple[int, ...]) -> None:
    """A target of (6,) against a prediction of (6, 1) silently compares all with all; here it is an error."""
    with pytest.raises(ValueError, match=r"^y has shape .*, the model predicts "):
        LOSSES[name](torch.zeros(6, 3), torch.zeros(shape))


def test_the_classic_mistake_is_refused_with_both_shapes() -> None:
    """A y of shape (n,) for a model of one output."""
    with pytest.raises(ValueError, match=r"y has shape \[4\], the model predicts \[4, 1\]"):
        mse(torch.zeros(4, 1), torch.zeros(4))


@pytest.mark.parametrize("shape", [(6, 3), (6, 1), (5,), ()])
def test_class_numbers_must_fit_the_logits(shape: tuple[int, ...]) -> None:
    """One-hot rows, a column, too few: named with both shapes."""
    with pytest.raises(ValueError, match=r"class numbers of shape .* do not fit logits \[6, 3\]"):
        cross_entropy(torch.zeros(6, 3), torch.zeros(shape, dtype=torch.int64))


def test_only_cross_entropy_takes_classes() -> None:
    """The contract's four names, one of them over class numbers."""
    assert set(LOSSES) == {"mse", "cross_entropy", "huber", "bce"}
    assert {cross_entropy} == CLASS_LOSSES


def test_accuracy_counts_the_largest_logit() -> None:
    """A share in the logits' dtype."""
    share = accuracy(tensor(LOGITS), tensor(CLASSES))
    assert share.dtype == torch.float64
    assert share.item() == np.mean(LOGITS.argmax(1) == CLASSES)
