"""Compiled steps in the loop: kills around the switch, and what is said when a step cannot be had."""

import fcntl
from pathlib import Path

import pytest
import torch

from streammeta.errors import StateError
from streammeta.events import Batch, Episode, Run, Switch
from streammeta.learner.executors.cache import Cache
from streammeta.learner.executors.compiled import CompiledSteps
from streammeta.learner.executors.identity import compiler_version, key_of, name_of
from streammeta.learner.executors.process import TracedStep
from streammeta.learner.flat import state_tensors
from streammeta.state.order_log import OrderLog
from tests.scripted import Fuse, make_script
from tests.world import World, brain, same


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A cache with the step of the scripted world, compiled once for all workers."""
    if compiler_version() is None:
        pytest.skip("no C++ compiler on this machine")
    base = tmp_path_factory.getbasetemp()
    directory = (base if worker_id == "master" else base.parent) / "world"
    directory.mkdir(mode=0o700, exist_ok=True)
    one = brain()
    state = one.learner.init(one.network.initial)
    x, y = torch.zeros(1, 3, 2, dtype=torch.float64), torch.zeros(1, 3, 1, dtype=torch.float64)
    traced = one.steps.traced(state, Episode(Batch(x, y), Batch(x.clone(), y.clone())))
    assert traced is not None
    step = TracedStep(*traced, len(state_tensors(state)), one.steps.predicts)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        key = key_of(step.update, step.inputs, step.state_count)
        CompiledSteps(Cache(directory)).named(step, name_of(key, "small", str(compiler_version())))
    return directory


@pytest.mark.parametrize("moments", [20, 22, 24])
def test_kills_around_the_switch_change_no_bit(directory: Path, tmp_path: Path, moments: int) -> None:
    """A life cut after the switch and before the next checkpoint: the same bits as the uncut one."""
    script = make_script(1, partitions=2, tasks=5, events=30)
    whole, cut = (World(script, tmp_path, compiled_from=directory) for _ in range(2))
    assert whole.live()
    assert not cut.live(fuse=Fuse(moments))
    log = OrderLog(cut.folder / "order.log")
    assert any(isinstance(entry, Switch) for entry in log.pending(cut.checkpoint().positions))
    log.close()
    assert cut.live()
    assert whole.checkpoint().executors
    assert cut.checkpoint().executors == whole.checkpoint().executors
    assert same(whole, cut)


def test_a_step_that_cannot_be_had_is_refused_where_bits_hang_on_it(directory: Path, tmp_path: Path) -> None:
    """Events are to be applied again by a step that is gone: refused in words; traced where it is told to."""
    script = make_script(1, partitions=2, tasks=5, events=30)
    world = World(script, tmp_path, compiled_from=directory)
    log = OrderLog(world.folder / "order.log")
    log.append([Switch("0" * 32), Run(script[0].partition, 0, script[0].offset + 1)])
    log.close()
    with pytest.raises(StateError, match=r'compiled step 0{32}.*engine\.compile = "off"') as refused:
        world.live()
    assert refused.value.exit_code == 65
    world.compiled_from = None
    assert world.live()
    assert world.checkpoint().executors == ()
