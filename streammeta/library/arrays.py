"""Arrays that a program gives, as the wire would bring them; and answers of the kind that was given."""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from streammeta.codec.examples import check_examples
from streammeta.codec.reading import check_episode
from streammeta.codec.tensors import bad_tensor, checked
from streammeta.events import Array, Batch, Episode

Values = Tensor | ArrayLike
"""A tensor, an array, or nested lists of numbers; the first axis counts the examples."""
Set = tuple[Values, Values]
"""Labelled examples: x and y."""


def array_of(values: Values, field: str) -> Array:
    """The values as an array of their own.

    Raises:
        BadEvent: they are no tensor of finite numbers with at least one example.
    """
    try:
        array = np.array(values.detach().cpu().numpy() if isinstance(values, Tensor) else values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise bad_tensor(field, str(error)) from error
    return checked(array, field)


def batch_of(given: Set, field: str) -> Batch[Array]:
    """Labelled examples.

    Raises:
        BadEvent: as `array_of`.
    """
    try:
        x, y = given
    except (TypeError, ValueError) as error:
        raise bad_tensor(field, "give two, x and y") from error
    return Batch(array_of(x, f"{field}.x"), array_of(y, f"{field}.y"))


def episode_of_sets(support: Set, query: Set, max_examples: int) -> Episode[Array]:
    """An episode.

    Raises:
        BadEvent: as the codec refuses it.
    """
    episode = Episode(batch_of(support, "support"), batch_of(query, "query"))
    check_episode(episode, max_examples)
    return episode


def examples_of(x: Values, y: Values, max_examples: int) -> Batch[Array]:
    """Labelled examples.

    Raises:
        BadEvent: as the codec refuses them.
    """
    batch = Batch(array_of(x, "x"), array_of(y, "y"))
    check_examples(batch, max_examples)
    return batch


def like(answer: Array, given: Values) -> Any:
    """The answer as a tensor where a tensor was given, on its device; else as an array."""
    return torch.from_numpy(answer).to(given.device) if isinstance(given, Tensor) else answer
