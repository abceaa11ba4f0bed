"""Make the folder of one more version: `python -m tests.state.kept VERSION`."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from streammeta.codec import CONTROL, RESET
from streammeta.events import Record
from tests.example_streams import make_examples
from tests.state.kept import HERE, facts, learn

SETTINGS = """\
[model]
args = { sizes = [2, 3, 1] }
dtype = "float64"
[algorithm]
name = "moml"
inner_lr = 0.05
[outer]
lr = 0.05
momentum = 0.5
clip_norm = 5.0
[events]
kind = "examples"
support = 2
query = 1
dedupe_window_events = 100
expire_after_events = 40
forgetting_sets = 2
memory_norm_limit = 3.0
[engine]
compile = "off"
"""
FIRST, ALL = 60, 90


def script() -> list[Record]:
    """Examples, halves, refusals, ids, a task that is forgotten, one that is reset and not visited since."""
    records = make_examples(3, partitions=2, tasks=6, records=ALL)
    records = [r._replace(headers=(*r.headers, ("ce_id", b"%d" % (n // 2)))) for n, r in enumerate(records)]
    records[40] = records[40]._replace(key=b"task-1", value=None, headers=(), partition=records[40].partition)
    records[FIRST - 1] = records[FIRST - 1]._replace(value=b"{}", headers=((CONTROL, RESET),))
    return records


def make(folder: Path) -> None:
    """The whole folder, which must not exist."""
    folder.mkdir()
    (folder / "learner.toml").write_text(SETTINGS)
    with tempfile.TemporaryDirectory() as place:
        state, kept = Path(place) / "state", folder / "state"
        learn(folder, state, script()[:FIRST], folder / "recording")
        kept.mkdir()
        (kept / "lmdb").mkdir()
        shutil.copy(state / "lmdb" / "data.mdb", kept / "lmdb")
        shutil.copy(state / "order.log", kept)
        before = facts(state)
        command = [sys.executable, "-m", "streammeta", "export", "--state", str(state), "--all-tasks"]
        subprocess.run([*command, "--output", str(folder / "export.safetensors")], check=True)
        learn(folder, state, script(), folder / "recording")
        told = {"kept": before, "learned": facts(state)}
    (folder / "facts.json").write_text(json.dumps(told, separators=(",", ":")) + "\n")


make(HERE / sys.argv[1])
