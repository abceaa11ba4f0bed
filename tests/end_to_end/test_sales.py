"""The sales example of the README: its command line, its settings, its losses."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from streammeta.config import Config
from streammeta.outcomes import Learned, Outcome
from streammeta.programs.comparison import learn
from streammeta.programs.replay import of_recording
from streammeta.recording.reader import Recording
from streammeta.recording.selection import ALL
from streammeta.runtime.loop import Controls
from streammeta.stream.embedded.broker import EmbeddedBroker, broker_available
from tests.end_to_end.program import succeed
from tests.sales import write_sales

README = (Path(__file__).parents[2] / "README.md").read_text()

pytestmark = pytest.mark.skipif(not broker_available(), reason="no broker wheel for this platform")


def test_it_learns_from_its_first_episodes_on(tmp_path: Path) -> None:
    """After 15 visits the adapted loss is at most 0.2 on average; no episode's loss is above 100."""
    (line,) = re.findall(r"streammeta (produce table sales\.csv .*)", README)
    (settings,) = [
        block for block in re.findall(r"```toml\n(.*?)```", README, re.DOTALL) if "expire_after" in block
    ]
    words = [str(write_sales(tmp_path / word)) if word == "sales.csv" else word for word in line.split()]
    with EmbeddedBroker() as broker:
        where = ["--bootstrap-servers", broker.bootstrap_servers, "--partitions", 1]
        succeed(*words, *where)
        config = {"kafka.bootstrap_servers": broker.bootstrap_servers, "kafka.topic": "sales"}
        flags = [part for key, value in config.items() for part in ("--set", f"{key}={value}")]
        succeed("record", *flags, "--output", tmp_path / "recording", "--until-end")
    recording, outcomes = Recording(tmp_path / "recording"), list[Outcome]()
    asked = of_recording(Config.model_validate(tomllib.loads(settings)), recording)
    learn(asked, recording, ALL, (outcomes.append,), Controls())
    learned = [row for each in outcomes if isinstance(each, Learned) for row in each.rows()]
    assert max(each.loss_adapted for each in learned) < 100
    assert max(each.loss_meta for each in learned) < 100
    assert np.mean([each.loss_adapted for each in learned if each.task_events >= 15]) <= 0.2
