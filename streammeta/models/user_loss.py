"""A loss that the user brings: a function, a module, a class of one, or what makes one."""

import copy
import inspect
import warnings
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from streammeta.errors import ConfigError
from streammeta.models.faults import told
from streammeta.models.isolation import kept_running
from streammeta.models.losses import CLASS_LOSSES, PredictionLoss, checked
from streammeta.models.randomness import kept_randomness

_CLASS_MODULES: Final = (nn.CrossEntropyLoss, nn.NLLLoss, nn.MultiMarginLoss)
_CLASS_FUNCTIONS: Final = (
    *CLASS_LOSSES,
    functional.cross_entropy,
    functional.nll_loss,
    functional.multi_margin_loss,
)
_EXAMPLES: Final = 4
_CLASSES: Final = (3, *range(2, 33))
"""How many classes a trial has; a loss with a weight for each class takes its own number alone."""


class Loss(NamedTuple):
    """A loss, and whether its targets are class numbers."""

    of: PredictionLoss
    takes_classes: bool


def user_loss(found: Callable[..., Any], path: str, dtype: torch.dtype, device: torch.device) -> Loss:
    """The loss that `found` is or makes, in the model's numbers and on its device.

    A module is copied, so the user's own stays as it is. Targets are class numbers where the loss says so
    (`targets = "classes"`, else `"values"`), where it is one of PyTorch's that takes them, or where a trial
    shows that it takes whole numbers, one an example, and no fractions.

    Raises:
        ConfigError: it cannot be made, learns parameters, has other arguments, or gives more than one number.
    """
    loss = _made(found, path)
    if isinstance(loss, nn.Module):
        loss = copy.deepcopy(loss).to(device=device, dtype=dtype)
        learned = [name for name, value in loss.named_parameters() if value.requires_grad]
        if learned:
            raise ConfigError(
                f'model.loss = "{path}": parameter {learned[0]} of the loss would have to be learned; hold '
                "it in the model, whose parameters are, or set requires_grad = False"
            )
    said = getattr(loss, "targets", None)
    if said not in (None, "classes", "values"):
        raise ConfigError(f'model.loss = "{path}": targets = {said!r}; write "classes" or "values"')
    of = cast("PredictionLoss", loss)
    with kept_randomness(), torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using a target size", UserWarning)  # the trials are to find out
        return Loss(of, _takes_classes(of, said, path, dtype, device))


def _made(found: Callable[..., Any], path: str) -> Callable[..., Any]:
    """An instance of a class, what a function without arguments makes, or the loss as it is."""
    if not inspect.isclass(found) and (
        isinstance(found, nn.Module) or _binds(found, 2) or not _binds(found, 0)
    ):
        return found
    try:
        with kept_running():
            made = found()
    except Exception as error:
        raise ConfigError(
            f'model.loss = "{path}": {told(error)}; a class is made without arguments: where it needs some, '
            "name an instance (weighted = CrossEntropyLoss(weight=…) in a module of yours)"
        ) from error
    if not callable(made):
        raise ConfigError(f'model.loss = "{path}": makes {type(made).__name__}, which cannot be called')
    return cast("Callable[..., Any]", made)


def _binds(function: Callable[..., Any], arguments: int) -> bool:
    try:
        inspect.signature(function).bind(*range(arguments))
    except TypeError:
        return False
    except ValueError:  # a function in C that does not tell
        return arguments == 2
    return True


def _takes_classes(
    of: PredictionLoss, said: str | None, path: str, dtype: torch.dtype, device: torch.device
) -> bool:
    if said is not None:
        return said == "classes"
    if isinstance(of, _CLASS_MODULES) or any(of is one for one in _CLASS_FUNCTIONS):
        _refuse(_outcomes(of, _class_trials(dtype, device, torch.int64)), path)
        return True
    classes = _outcomes(of, _class_trials(dtype, device, torch.int64))
    values = _outcomes(of, _value_trials(dtype, device))
    fractions = _outcomes(of, _class_trials(dtype, device, dtype))
    _refuse([*values, *classes], path)
    return None in classes and None not in fractions


Trial = tuple[Tensor, Tensor]


def _class_trials(dtype: torch.dtype, device: torch.device, of: torch.dtype) -> list[Trial]:
    """Logits of some classes, and a target an example."""
    target = torch.tensor([0, 1, 0, 1], dtype=of, device=device)
    return [(_logits(classes, dtype, device), target) for classes in _CLASSES]


def _value_trials(dtype: torch.dtype, device: torch.device) -> list[Trial]:
    """Predictions, and targets of the same shape; between 0 and 1, as probabilities are."""
    return [(one, torch.full_like(one, 0.25)) for one in (_logits(width, dtype, device) for width in (1, 3))]


def _logits(width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.linspace(0.1, 0.9, _EXAMPLES * width, dtype=dtype, device=device).view(_EXAMPLES, width)


def _outcomes(of: PredictionLoss, trials: Iterable[Trial]) -> list[Exception | None]:
    """What came of each trial up to the first that worked: None there, else the error."""
    outcomes = list[Exception | None]()
    for prediction, target in trials:
        try:
            with kept_running():
                checked(of(prediction, target))
        except Exception as error:  # noqa: BLE001 (the user's code may raise anything)
            outcomes.append(error)
        else:
            return [*outcomes, None]
    return outcomes


def _refuse(outcomes: list[Exception | None], path: str) -> None:
    """Refuse a loss of which every trial failed, one of them by a fault that no data can have."""
    faults = [error for error in outcomes if isinstance(error, TypeError | NameError | AttributeError)]
    if None not in outcomes and faults:
        raise ConfigError(f'model.loss = "{path}": {told(faults[0])}') from faults[0]
