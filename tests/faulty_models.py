"""Models and losses that keep something between events, or differ at each start; and refused kinds."""

import os
import random
import sys
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional


class Keeping(nn.Module):
    """A linear model that leaves something behind at each call, in the way that `how` says."""

    calls = 0
    mean: Tensor
    passing: Tensor

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.out = how, nn.Linear(3, 1)
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("passing", torch.zeros(3), persistent=False)
        self.seen, self.history = 0, list[int]()
        self.first: Tensor | None = None
        self.cache = dict[torch.Size, Tensor]()
        self.draws, self.own = np.random.default_rng(1), torch.Generator().manual_seed(1)

    def forward(self, x: Tensor) -> Tensor:
        """The prediction, and what is left behind."""
        with torch.no_grad():
            x = getattr(self, self.how)(x)
        prediction: Tensor = self.out(x)
        return prediction

    def written_buffer(self, x: Tensor) -> Tensor:
        """In place."""
        self.mean.mul_(0.9).add_(0.1 * x.mean(0))
        return x

    def replaced_buffer(self, x: Tensor) -> Tensor:
        """By another tensor."""
        self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
        return x

    def unsaved_buffer(self, x: Tensor) -> Tensor:
        """One that no state_dict holds."""
        self.passing += 1
        return x

    def batch_norm(self, x: Tensor) -> Tensor:
        """Running statistics by hand."""
        return functional.batch_norm(x, self.mean, self.passing, training=True)

    def counter(self, x: Tensor) -> Tensor:
        """Whose use comes later."""
        self.seen += 1
        return x if self.seen < 1000 else 2 * x

    def listed(self, x: Tensor) -> Tensor:
        """A list that grows."""
        self.history.append(len(x))
        return x

    def class_counter(self, x: Tensor) -> Tensor:
        """Outside of the module."""
        Keeping.calls += 1
        return x * Keeping.calls

    def clock(self, x: Tensor) -> Tensor:
        """Wall time."""
        return x * (time.time_ns() % 1_000_003)

    def torch_draw(self, x: Tensor) -> Tensor:
        """Torch's own generator."""
        return x + torch.rand(3)

    def functional_dropout(self, x: Tensor) -> Tensor:
        """Dropout without a layer."""
        return functional.dropout(x, 0.5, training=True)

    def numpy_draw(self, x: Tensor) -> Tensor:
        """NumPy's global generator."""
        return x + np.random.rand()

    def python_draw(self, x: Tensor) -> Tensor:
        """Python's global generator, of which nothing comes mostly."""
        return x if random.random() < 0.999 else 2 * x

    def own_numpy(self, x: Tensor) -> Tensor:
        """A generator in an attribute."""
        return x if self.draws.random() < 2 else 2 * x

    def own_torch(self, x: Tensor) -> Tensor:
        """A torch generator in an attribute."""
        return x + 0 * torch.rand(3, generator=self.own)

    def weight_clipped(self, x: Tensor) -> Tensor:
        """A parameter that is written by a call."""
        self.out.weight.clamp_(-0.01, 0.01)
        return x

    def first_input(self, x: Tensor) -> Tensor:
        """Scaled for ever by what came first."""
        if self.first is None:
            self.first = x.abs().max()
        scaled: Tensor = x / self.first
        return scaled

    def own_input(self, x: Tensor) -> Tensor:
        """Centred in place."""
        x -= x.mean(0)
        return x

    def own_parameter(self, x: Tensor) -> Tensor:
        """Another in its place."""
        self.out.weight = nn.Parameter(self.out.weight.clamp(-0.01, 0.01))
        return x

    def cached(self, x: Tensor) -> Tensor:
        """What follows from shapes alone may be kept."""
        if self.first is None:
            self.first = torch.arange(3.0).to(x)
        return x + self.first

    def keyed_cache(self, x: Tensor) -> Tensor:
        """A dict by shape too."""
        return x + self.cache.setdefault(x.shape, torch.ones(3).to(x))


def keeping(how: str) -> nn.Module:
    """A model that keeps something."""
    return Keeping(how)


class Bare(nn.Module):
    """Weights of its own: no layer that tells the input; and a running mean."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 1))
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        """The prediction, and what is left behind."""
        with torch.no_grad():
            self.mean += 0.1 * x.mean(0)
        return (x - self.mean) @ self.weight


def hidden() -> nn.Module:
    """A model whose input cannot be told from its layers."""
    return Bare()


def spectral(old: bool = False) -> nn.Module:
    """A layer with a power iteration."""
    norm: Any = nn.utils.spectral_norm if old else nn.utils.parametrizations.spectral_norm
    return nn.Sequential(norm(nn.Linear(3, 8)), nn.Linear(8, 1))


SINGLETON = nn.Linear(3, 1)


def singleton() -> nn.Module:
    """The same module each time."""
    return SINGLETON


def frozen_by(source: str) -> nn.Module:
    """A frozen layer with numbers from `source`."""
    draw: dict[str, Any] = {
        "numpy": lambda: np.random.normal(size=(3, 3)),
        "random": lambda: [[random.random() for _ in range(3)] for _ in range(3)],
        "torch": lambda: torch.randn(3, 3).tolist(),
        "system": lambda: np.frombuffer(os.urandom(9), np.uint8).reshape(3, 3),
        "unseeded": lambda: np.random.default_rng().normal(size=(3, 3)),
        "clock": lambda: np.full((3, 3), time.perf_counter_ns() % 1_000_003),
        "torch_own": lambda: torch.empty(3, 3).normal_(generator=seedless()).tolist(),
    }
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
    model[0].weight = nn.Parameter(
        torch.tensor(np.array(draw[source]()), dtype=torch.float32), requires_grad=False
    )
    return model


def seedless() -> torch.Generator:
    """A generator of another start each time."""
    generator = torch.Generator()
    generator.seed()
    return generator


def lazy() -> nn.Module:
    """Of no input size yet."""
    return nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 1))


def lazy_called() -> nn.Module:
    """Lazy no more."""
    model = lazy()
    model(torch.zeros(1, 3))
    return model


class Complex(nn.Module):
    """A complex parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.wave = nn.Parameter(torch.zeros(3, 1, dtype=torch.complex64))


def scripted(trace: bool = False) -> nn.Module:
    """TorchScript."""
    linear = nn.Linear(3, 1)
    jit: Any = torch.jit
    made: nn.Module = jit.trace(linear, torch.zeros(1, 3)) if trace else jit.script(linear)
    return nn.Sequential(made, nn.Linear(1, 1))


def all_frozen() -> nn.Module:
    """Nothing to learn."""
    return nn.Linear(3, 1).requires_grad_(False)


def scattered() -> nn.Module:
    """A call is spread over devices."""
    return nn.DataParallel(nn.Linear(3, 1))


def compiled_in_place() -> nn.Module:
    """Wrapped without a wrapper."""
    model = nn.Linear(3, 1)
    model.compile()
    return model


def a_class() -> type[nn.Module]:
    """The class, not a module of it."""
    return nn.Linear


def leaving() -> nn.Module:
    """Ends the program."""
    sys.exit("no weights")


def turning(how: str) -> nn.Module:
    """Turns a switch of the process."""
    if how == "threads":
        torch.set_num_threads(torch.get_num_threads() + 1)
    elif how == "gradients":
        torch.set_grad_enabled(False)
    else:
        torch.autograd.set_detect_anomaly(True)
    return nn.Linear(3, 1)


class Printing(nn.Linear):
    """Says so when it is called."""

    def forward(self, x: Tensor) -> Tensor:
        """As a linear layer."""
        print("hello from forward")
        return super().forward(x)


def printing() -> nn.Module:
    """Says so."""
    print("hello from the factory")
    return Printing(3, 1)


def broken() -> nn.Module:
    """A factory with a bug."""
    return nn.Linear(*{"in": 3, "out": 1}["width"])  # type: ignore[misc]  # the mistake


class Returning(nn.Module):
    """Returns something else than a prediction an example."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what, self.out = what, nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Any:
        """As `what` says."""
        y = self.out(x)
        if self.what == "exit":
            sys.exit(3)
        kinds: dict[str, Any] = {"tuple": (y, y), "dict": {"y": y}, "none": None, "mean": y.mean(0)}
        kinds |= {"sign": y > 0, "whole": y.long(), "meta": y.to("meta"), "cut": y.detach()}
        return kinds.get(self.what, y)


class Constant(nn.Module):
    """A constant that `model.dtype` does not reach; and a typing error."""

    def __init__(self, bug: str) -> None:
        super().__init__()
        self.bug, self.out, self.scale = bug, nn.Linear(3, 3), torch.eye(3)

    def forward(self, x: Tensor) -> Tensor:
        """As `bug` says."""
        if self.bug == "name":
            x = undefined_name(x)  # type: ignore[name-defined]  # noqa: F821 (the mistake)
        prediction: Tensor = self.out(x) @ self.scale
        return prediction


weighted = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0]))
vector = nn.MSELoss(reduction="none")


def as_logits(prediction: Tensor, target: Tensor) -> Tensor:
    """Class numbers, found out by a trial."""
    return functional.cross_entropy(prediction, target)


def five_weights(prediction: Tensor, target: Tensor) -> Tensor:
    """Class numbers, of five classes alone."""
    return functional.cross_entropy(prediction, target, weight=torch.ones(5).to(prediction))


def probabilities(prediction: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy that is told what its targets are."""
    return functional.cross_entropy(prediction, target)


probabilities.targets = "values"  # type: ignore[attr-defined]  # as a user says it


def constant(_prediction: Tensor, _target: Tensor) -> Tensor:
    """Whatever was predicted."""
    return torch.tensor(3.0)


def centring(prediction: Tensor, target: Tensor) -> Tensor:
    """Writes to the target."""
    target -= target.mean() - 1
    return functional.mse_loss(prediction, target)


class Learning(nn.Module):
    """A loss that would have to be learned."""

    def __init__(self) -> None:
        super().__init__()
        self.noise = nn.Parameter(torch.zeros(()))

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Uncertainty weighting."""
        return ((prediction - target) ** 2).mean() * torch.exp(-self.noise) + self.noise


def made() -> nn.Module:
    """Makes a loss."""
    return nn.L1Loss()


def one_argument(prediction: Tensor) -> Tensor:
    """A loss that lacks an argument."""
    return prediction.mean()
