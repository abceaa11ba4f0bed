"""A record that kills the process, one for which the memory does not suffice: passed, the others learned."""

import json
from pathlib import Path

import numpy as np
import pytest

from streammeta.codec import CONTENT_TYPE, MSGPACK, encode_msgpack
from streammeta.events import episode_of
from tests.brokers.broker import Broker, fresh
from tests.end_to_end.program import Daemon, same_bits, succeed
from tests.lethal_models import GREEDY_EXAMPLES, LETHAL_EXAMPLES

EVENTS, LETHAL, GREEDY = 40, 17, 25


def produce(broker: Broker, topic: str) -> None:
    """Events of five tasks; two of them have a number of examples that the model cannot bear."""
    rng = np.random.default_rng(5)
    for number in range(EVENTS):
        count = {LETHAL: LETHAL_EXAMPLES, GREEDY: GREEDY_EXAMPLES}.get(number, 3)
        x = rng.normal(size=(count, 1)).astype(np.float32)
        y = rng.normal(size=(count, 1)).astype(np.float32)
        broker.producer.send(
            topic,
            key=b"task-%d" % (number % 5),
            value=encode_msgpack(episode_of(x, y, x[:2], y[:2])),
            headers=[(CONTENT_TYPE, MSGPACK.encode())],
            timestamp_ms=1_000 * number,
        )
    broker.producer.flush(30)


def settings_of(broker: Broker, topic: str, batch: int, **args: object) -> dict[str, object]:
    """Of a daemon that some records kill."""
    return {
        "kafka.bootstrap_servers": broker.bootstrap_servers,
        "kafka.topic": topic,
        "model.factory": "tests.lethal_models:Lethal",
        **{f"model.args.{name}": value for name, value in args.items()},
        "engine.compile": "off",
        "events.batch": batch,
        "state.checkpoint_events": 10,
        "log.format": "json",
    }


@pytest.mark.parametrize("batch", [1, 3])
def test_the_third_life_passes_what_killed_two(batch: int, tansu: Broker, tmp_path: Path) -> None:
    """Two lives end in it; the third sets it aside, learns all others, and a replay passes the same."""
    topic = tansu.create(fresh("lethal"))
    produce(tansu, topic)
    settings = settings_of(tansu, topic, batch)
    recording = tmp_path / "recording"
    with Daemon(tmp_path / "state", settings, flags=("--record", str(recording))) as daemon:
        for _ in range(2):
            daemon.start("--until-end")
            assert daemon.wait() == -9, daemon.log.read_text()[-3000:]
        daemon.run_to_end()
        assert sum(daemon.counts().values()) == EVENTS - 2
        whole = daemon.export()
    letters = json.loads(succeed("dlq", "list", *daemon.arguments(), "--limit", 0, "--format", "json"))
    told = {letter["offset"]: (letter["reason"], letter["stage"], letter["omitted"]) for letter in letters}
    assert told == {LETHAL: ("bad_tensor", "step", ""), GREEDY: ("too_large", "step", "")}
    again = Daemon(tmp_path / "replayed", settings)
    succeed("replay", recording, *again.arguments())
    assert same_bits(again.export(), whole)


def test_two_kills_from_outside_condemn_nothing(tansu: Broker, tmp_path: Path) -> None:
    """They met the same record; the third life sees that it does no harm, and learns it with the others."""
    topic, killer = tansu.create(fresh("lethal")), tmp_path / "killer"
    produce(tansu, topic)
    killer.touch()
    settings = settings_of(tansu, topic, 1, only_with=str(killer))
    with Daemon(tmp_path / "state", settings) as daemon:
        for _ in range(2):
            daemon.start("--until-end")
            assert daemon.wait() == -9, daemon.log.read_text()[-3000:]
        killer.unlink()
        daemon.run_to_end()
        assert sum(daemon.counts().values()) == EVENTS - 1
        said = daemon.log.read_text()
        assert ("one more tries it, watched" in said, "records passed" in said) == (True, False)
