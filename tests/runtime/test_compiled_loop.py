"""Compiled steps in the loop: kills around the switch, recordings, and steps that cannot be had."""

import json
import random
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from streammeta.config import Config
from streammeta.errors import ConfigError, Interrupted, StateError
from streammeta.events import Run, Switch
from streammeta.outcomes import Executing, Outcome
from streammeta.recording.reader import Recording
from streammeta.runtime.controls import Controls
from streammeta.state.order_log import OrderLog
from tests.recording.samples import read
from tests.scripted import Fuse, make_script
from tests.world import CONFIG, World, batches_of, same

PART_BYTES = 2000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the worlds of this module."""
    return tmp_path_factory.mktemp("compiled")


@cache
def uncut(batch: int, folder: Path, compiled: Path) -> World:
    """One undisturbed life, recorded; the compiled step takes over behind the first poll."""
    script = make_script(1, partitions=3, tasks=6, events=40, odd=0.1, wild=0.1)
    pauses = frozenset({12, 27})
    world = World(script, folder, batches_of(batch), pauses, part_bytes=PART_BYTES, compiled_from=compiled)
    assert world.live()
    assert world.checkpoint().executors
    return world


def served(world: World) -> list[tuple[int, tuple[str, ...]]]:
    """From which rows on which compiled steps learned, as the recording tells; each change once."""
    told = [(s.row, s.compiled) for chunk in Recording(world.recording).chunks() for s in chunk.stretches]
    return [now for before, now in zip([(-1, ()), *told], told, strict=False) if before[1] != now[1]]


@pytest.mark.parametrize("batch", [1, 4])
def test_a_replay_uses_the_same_executors_at_the_same_rows(
    batch: int, folder: Path, compiled_world: Path
) -> None:
    """Traced at first, then compiled where that is at hand: the same bits, not those of all traced."""
    world = uncut(batch, folder, compiled_world)
    ((row, names),) = served(world)
    assert 0 < row < len(world.script)
    assert names == world.checkpoint().executors
    again = world.replayed()
    assert same(again, world)
    assert again.checkpoint().executors == world.checkpoint().executors
    traced = World(world.script, folder, world.config, world.pauses)
    assert traced.live()
    assert not same(traced, world)


@given(data=st.data())
@settings(max_examples=12)
def test_killed_anywhere_state_and_recording_agree(
    data: st.DataObject, folder: Path, compiled_world: Path
) -> None:
    """Before, at and after the switch, as often as you like; and two replays of it end in the same bits.

    Where the switch comes depends on the polls. The recording says where it came, and a replay keeps to it.
    """
    batch = data.draw(st.sampled_from([1, 4]), label="batch")
    fuses = data.draw(st.lists(st.integers(1, 120), max_size=10), label="kills")
    draws = random.Random(data.draw(st.integers(0, 2**32), label="polls"))
    whole = uncut(batch, folder, compiled_world)
    world = World(
        whole.script, folder, whole.config, whole.pauses, part_bytes=PART_BYTES, compiled_from=compiled_world
    )
    assert world.live_killed(fuses, draws)
    assert read(world.recording) == world.script
    assert same(world.replayed(), world)
    killed_replay = World([], folder, world.config)
    for length in data.draw(st.lists(st.integers(1, 120), max_size=4), label="kills of the replay"):
        world.replayed(fuse=Fuse(length), into=killed_replay)
    assert same(world.replayed(into=killed_replay), world)


def test_kills_around_the_switch_change_no_bit(compiled_world: Path, tmp_path: Path) -> None:
    """Lives cut at every second moment around the switch: the same bits as the uncut one."""
    script = make_script(1, partitions=2, tasks=5, events=30)
    whole = World(script, tmp_path, compiled_from=compiled_world)
    assert whole.live()
    assert whole.checkpoint().executors
    behind_the_switch = 0
    for moments in range(20, 30):
        cut = World(script, tmp_path, compiled_from=compiled_world)
        assert not cut.live(fuse=Fuse(moments))
        log = OrderLog(cut.folder / "order.log")
        behind_the_switch += any(
            isinstance(entry, Switch) for entry in log.pending(cut.checkpoint().positions)
        )
        log.close()
        assert cut.live()
        assert cut.checkpoint().executors == whole.checkpoint().executors
        assert same(whole, cut)
    assert behind_the_switch >= 3


def test_a_step_that_cannot_be_had_is_refused_where_bits_hang_on_it(
    compiled_world: Path, tmp_path: Path
) -> None:
    """Events are to be applied again by a step that is gone: refused in words; traced where it is told to."""
    script = make_script(1, partitions=2, tasks=5, events=30)
    world = World(script, tmp_path, compiled_from=compiled_world)
    log = OrderLog(world.folder / "order.log")
    log.append([Switch("0" * 32), Run(script[0].partition, 0, script[0].offset + 1)])
    log.close()
    with pytest.raises(StateError, match=r'compiled step 0{32}.*engine\.compile = "off"') as refused:
        world.live()
    assert refused.value.exit_code == 65
    world.compiled_from = None
    assert world.live()
    assert world.checkpoint().executors == ()


def required(config: Config) -> Config:
    """The same, and nothing may be learned by what is not compiled."""
    return config.model_copy(update={"engine": config.engine.model_copy(update={"compile": "require"})})


def test_required_steps_learn_everything(
    compiled_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first event on; the recording says so, and a replay ends in the same bits."""
    world = World(
        make_script(2, partitions=2, tasks=5, events=30),
        tmp_path,
        required(CONFIG),
        part_bytes=PART_BYTES,
        compiled_from=compiled_world,
    )

    def traced(*_: object) -> None:
        raise AssertionError("a step was traced")

    monkeypatch.setattr("streammeta.learner.engine.step_traced", traced)
    assert world.live()
    assert {str(refusal.reason) for _, refusal in world.dead} == {"undecodable"}
    assert served(world) == [(0, world.checkpoint().executors)]
    assert same(world.replayed(), world)


@given(fuses=st.lists(st.integers(1, 100), min_size=1, max_size=6), polls=st.integers(0, 2**32))
@settings(max_examples=12)
def test_killed_anywhere_required_steps_learn_everything(
    fuses: list[int], polls: int, folder: Path, compiled_world: Path
) -> None:
    """Also where the step takes over in the midst of a poll: wherever it is killed, the same bits.

    Records that are refused may come first: what is learned first decides when the step is compared.
    """
    script = make_script(8, partitions=2, tasks=5, events=30, poison=0.2, wild=0.3)
    worlds = [
        World(script, folder, required(CONFIG), part_bytes=PART_BYTES, compiled_from=compiled_world)
        for _ in range(2)
    ]
    whole, killed = worlds
    assert whole.live()
    assert killed.live_killed(fuses, random.Random(polls))
    assert whole.checkpoint().executors
    assert same(killed, whole)
    assert same(killed.replayed(), whole)


def test_a_required_step_without_a_compiler_ends_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 78 before the first event is learned."""
    monkeypatch.setenv("PATH", "")
    empty = tmp_path / "empty"
    empty.mkdir(mode=0o700)
    script = make_script(1, partitions=2, tasks=5, events=9)
    world = World(script, tmp_path, required(CONFIG), compiled_from=empty)
    with pytest.raises(ConfigError, match=r"no C\+\+ compiler") as refused:
        world.live()
    assert refused.value.exit_code == 78
    assert world.checkpoint().progress.events == 0


def test_what_was_learned_traced_is_not_replayed_by_required_steps(
    folder: Path, compiled_world: Path
) -> None:
    """The recording says who learned; what it says and what is required cannot both be."""
    world = uncut(1, folder, compiled_world)
    world = World(world.script, folder, world.config, part_bytes=PART_BYTES)
    assert world.live()
    world.config = required(world.config)
    with pytest.raises(ConfigError, match=r'recording was learned by the traced step here.*"auto"'):
        world.replayed(compiled_from=compiled_world)


def foreign(compiled: Path, directory: Path, name: str) -> Path:
    """A cache that knows, beside what `compiled` knows, a step of the same shapes made elsewhere."""
    shutil.copytree(compiled, directory, ignore=shutil.ignore_patterns(".*"))
    (one,) = (path for path in directory.glob("*.json") if "float64[1,3,2]" in path.read_text())
    about = json.loads(one.read_text()) | {"key": "of another processor"}
    about["conditions"]["torch"] = "1.0"
    (directory / f"{name}.json").write_text(json.dumps(about))
    shutil.copy2(one.with_suffix(".so"), directory / f"{name}.so")
    return directory


NAME = "f" * 32


def test_a_step_made_for_another_machine_is_left_where_it_would_serve(
    compiled_world: Path, tmp_path: Path
) -> None:
    """Of the right shapes, but not what they are compiled to here: said, recorded, traced from there."""
    script = make_script(1, partitions=2, tasks=5, events=40)
    world = World(script[:15], tmp_path, part_bytes=PART_BYTES)
    assert world.live()
    meta = world.store.load()
    assert meta is not None
    document = json.loads(meta.document) | {"executors": [NAME]}
    world.store.commit(replace(meta, document=json.dumps(document).encode()), world.rows())
    world.script, world.compiled_from = script, foreign(compiled_world, tmp_path / "cache", NAME)
    with capture_logs() as told:
        assert world.live()
    assert [line["executors"] for line in told if line["event"] == "compiled steps not at hand"] == [[NAME]]
    (mine,) = world.checkpoint().executors
    assert mine != NAME
    rows = served(world)
    assert [compiled for _, compiled in rows] == [(mine,)]
    assert rows[0][0] > 15
    assert same(world.replayed(), world)


def test_a_step_made_for_another_machine_is_refused_where_bits_hang_on_it(
    compiled_world: Path, tmp_path: Path
) -> None:
    """The message says in what the two differ."""
    script = make_script(1, partitions=2, tasks=5, events=30, poison=0.0)
    world = World(script, tmp_path, compiled_from=foreign(compiled_world, tmp_path / "cache", NAME))
    log = OrderLog(world.folder / "order.log")
    log.append([Switch(NAME), Run(script[0].partition, 0, script[0].offset + 1)])
    log.close()
    with pytest.raises(StateError, match=rf"{NAME}.*torch was 1\.0, here 2\."):
        world.live()


def test_a_stop_ends_the_wait_for_a_compiler(
    compiled_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told what is compiled; asked to stop, nothing of the chunk is learned: a restart does it."""

    class Endless:
        """A compilation that does not end by itself."""

        ended = 0

        def __init__(self, *_: object, **_named: object) -> None:
            """Begins."""

        def wait(self, _seconds: float) -> None:
            """It goes on."""

        def end(self) -> None:
            """Now it does not."""
            Endless.ended += 1

    empty = tmp_path / "empty"
    empty.mkdir(mode=0o700)
    monkeypatch.setattr("streammeta.learner.executors.compiled.CompileProcess", Endless)
    script = make_script(2, partitions=2, tasks=5, events=30)
    world, reference = (
        World(script, tmp_path, required(CONFIG), compiled_from=c) for c in (empty, compiled_world)
    )
    controls, told = Controls(), list[str]()

    def stop(outcome: Outcome) -> None:
        if isinstance(outcome, Executing) and outcome.compiling_now:
            told.append(outcome.making)
            controls.stop = True

    with pytest.raises(Interrupted):
        world.live(observers=(stop,), controls=controls)
    assert (told, Endless.ended) == (["compiling the step of " + " ".join(SHAPES)], 1)
    assert world.checkpoint().progress.events == 0
    world.compiled_from = compiled_world
    assert world.live()
    assert reference.live()
    assert same(world, reference)


SHAPES = ["float64[1,3,2]", "float64[1,3,1]"] * 2


def test_a_replay_closes_an_iteration_before_the_switch(compiled_world: Path, tmp_path: Path) -> None:
    """One task, two events an iteration: each record closes the one before it, at the switch too.

    The daemon had closed it in an earlier poll; in a replay nothing has come yet that would.
    """
    for seed in range(6):  # a single step often has the same bits from both executors
        script = make_script(seed, partitions=1, tasks=1, events=9, poison=0.0)
        world = World(script, tmp_path, batches_of(2), part_bytes=PART_BYTES, compiled_from=compiled_world)
        assert world.live()
        assert [row for row, _ in served(world)] == [4]
        assert same(world.replayed(), world)


def test_a_required_step_is_logged_where_it_took_over(compiled_world: Path, tmp_path: Path) -> None:
    """Killed before the first checkpoint behind it, and no longer required: the same bits all the same."""
    script = make_script(2, partitions=2, tasks=5, events=30)
    whole = World(script, tmp_path, required(CONFIG), compiled_from=compiled_world)
    assert whole.live()
    logged = 0
    for moments in range(8, 20):
        world = World(script, tmp_path, required(CONFIG), compiled_from=compiled_world)
        assert not world.live(fuse=Fuse(moments))
        log = OrderLog(world.folder / "order.log")
        switched = any(isinstance(entry, Switch) for entry in log.pending(world.checkpoint().positions))
        log.close()
        if switched:
            logged += 1
            world.config = CONFIG
            assert world.live()
            assert same(world, whole)
    assert logged > 2
