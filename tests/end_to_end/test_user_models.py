"""Ten kinds of networks through Kafka and the command line: the export is what plain PyTorch learns."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from streammeta.codec import CONTENT_TYPE, MSGPACK, encode_msgpack
from streammeta.events import episode_of
from tests.brokers.broker import Broker, fresh
from tests.end_to_end.program import Daemon
from tests.models.plain import LOSSES, Plain
from tests.models.table import Case, case_of
from tests.models.test_models import draw, tensors

FROM_TABLE = {
    "linear": 1,
    "weight-norm": 3,
    "conv2d": 1,
    "embedding-padding": 3,
    "tied": 1,
    "attention": 3,
    "encoder": 1,
    "lstm": 3,
}
"""Networks of the table, with the events of an iteration."""

USER_FILE = '''
import torch
from torch import nn


class Steady(nn.Module):
    """A state filled in place over a sequence, a frozen layer drawn at random and a buffer."""

    def __init__(self, width):
        super().__init__()
        self.into, self.fixed = nn.Linear(2, width), nn.Linear(width, width).requires_grad_(False)
        self.out = nn.Linear(width, 1)
        self.register_buffer("scale", torch.linspace(0.5, 1.0, width))

    def forward(self, x):
        fast, slow = torch.zeros(len(x), 3).to(x), torch.zeros(len(x), 3).to(x)
        for row in x.unbind(1):
            fast += torch.tanh(self.into(row))
            slow += 0.1 * self.fixed(fast) * self.scale
        return self.out(fast - slow)


class Listens(nn.Module):
    """An attention layer over a recurrent one."""

    def __init__(self):
        super().__init__()
        self.memory = nn.GRU(2, 4, batch_first=True)
        self.mix = nn.MultiheadAttention(4, 2, batch_first=True)
        self.out = nn.Linear(4, 1)

    def forward(self, x):
        h, _ = self.memory(x)
        return self.out(self.mix(h, h, h)[0].mean(1))


def careful(prediction, y):
    error = prediction - y
    return torch.where(error > 0, error**2, 0.5 * error**2).mean()
'''
FROM_FILE: dict[str, tuple[dict[str, int], int]] = {"Steady": ({"width": 3}, 3), "Listens": ({}, 1)}
"""Networks of `USER_FILE`, with their arguments and the events of an iteration."""

VISITS = ("abc", "bca", "cab")
SEED, ROOT = 11, Path(__file__).parents[2]


class Life(NamedTuple):
    """A network: what the configuration says of it, its iterations, its inputs, and how the test makes it."""

    settings: dict[str, object]
    batch: int
    case: Case
    loss: Callable[[Tensor, Tensor], Tensor]

    def module(self) -> nn.Module:
        """The network that the daemon makes of its seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            return self.case.build().double()


def imported(path: Path) -> ModuleType:
    """The user's file, for the test's own use."""
    spec = spec_from_file_location("user_models", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lives(file: Path) -> Iterator[Life]:
    """All ten; those of the user's file, which is on PYTHONPATH, under a loss of its own."""
    for name, batch in FROM_TABLE.items():
        case = case_of(name)
        table: dict[str, object] = {"model.factory": "tests.models.table:build", "model.args.name": name}
        yield Life({**table, "model.loss": case.loss}, batch, case, LOSSES[case.loss])
    file.write_text(USER_FILE)
    module = imported(file)
    for name, (args, batch) in FROM_FILE.items():
        named: dict[str, object] = {f"model.args.{key}": value for key, value in args.items()}
        settings = {**named, "model.factory": f"user_models:{name}", "model.loss": "user_models:careful"}
        case = Case(lambda name=name, args=args: getattr(module, name)(**args), "sequence")  # type: ignore[misc]  # mypy knows no default of a lambda
        yield Life(settings, batch, case, module.careful)


def learned(broker: Broker, topic: str, life: Life) -> Plain:
    """Write three visits of three tasks as MessagePack; what plain PyTorch learns of them."""
    draws = np.random.default_rng(6)
    given = [
        (task, draw(life.case, draws, 4), draw(life.case, draws, 3)) for visit in VISITS for task in visit
    ]
    for task, support, query in given:
        value = encode_msgpack(episode_of(*support, *query))
        broker.producer.send(topic, value, task.encode(), [(CONTENT_TYPE, MSGPACK.encode())], partition=0)
    broker.producer.flush()
    plain = Plain(life.module(), life.loss, second_order=True, alpha=0.05, beta=0.3, eta=0.02, momentum=0.5)
    for at in range(0, len(given), life.batch):
        events = given[at : at + life.batch]
        plain.step([(task, tensors(s), tensors(q)) for task, s, q in events])
    return plain


def daemon(broker: Broker, topic: str, state: Path, life: Life) -> Daemon:
    """Its daemon."""
    settings = {
        "kafka.bootstrap_servers": broker.bootstrap_servers,
        "kafka.topic": topic,
        "events.batch": life.batch,
        "events.batch_linger_seconds": 60.0,
        "model.dtype": "float64",
        "model.seed": SEED,
        "algorithm.inner_lr": 0.05,
        "algorithm.beta": 0.3,
        "outer.lr": 0.02,
        "outer.momentum": 0.5,
    }
    return Daemon(state, {**settings, **life.settings})


def run_with_path(daemon: Daemon, folder: Path) -> None:
    """As a user starts it, with a folder of theirs on PYTHONPATH."""
    path = os.pathsep.join([str(folder), str(ROOT)])
    command = [sys.executable, "-m", "streammeta", "run", "--until-end", *daemon.arguments()]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]


def assert_is(daemon: Daemon, plain: Plain, rebuilt: Callable[[], nn.Module]) -> None:
    """What the daemon exports, strictly loaded into the network, has the numbers of plain PyTorch."""
    exported = daemon.export()
    assert len(plain.memories) == 3
    for prefix, wanted in {"meta/": plain.w, **{f"task/{t}/": u for t, u in plain.memories.items()}}.items():
        module = rebuilt()
        before = torch.cat([p.detach().reshape(-1) for p in module.parameters() if p.requires_grad])
        own = {
            key.removeprefix(prefix): torch.from_numpy(value)
            for key, value in exported.items()
            if key.startswith(prefix)
        }
        module.load_state_dict(own, strict=True)
        found = torch.cat([p.detach().reshape(-1) for p in module.parameters() if p.requires_grad])
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-9)
        assert (found - before).abs().max() > 1e-3


def test_ten_networks(tansu: Broker, tmp_path: Path) -> None:
    """Each with its own topic and state, two processes at a time."""
    with ExitStack() as stack:
        networks = [*lives(tmp_path / "user_models.py")]
        for at in range(0, len(networks), 2):
            pair = networks[at : at + 2]
            running = []
            for life in pair:
                topic = tansu.create(fresh("models"))
                plain = learned(tansu, topic, life)
                made = stack.enter_context(daemon(tansu, topic, tmp_path / topic, life))
                if str(life.settings["model.factory"]).startswith("user_models"):
                    run_with_path(made, tmp_path)
                else:
                    made.start("--until-end")
                running.append((made, plain, life))
            for made, plain, life in running:
                if made.process is not None:
                    assert made.wait() == 0, made.log.read_text()[-3000:]
                assert_is(made, plain, life.module)
