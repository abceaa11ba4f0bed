"""The README stays true: its settings, its verbs, its examples."""

import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from streammeta import Learner
from streammeta.cli import VERBS
from streammeta.codec import decode, decode_examples
from streammeta.config import Config
from streammeta.config.fields import allowed, fields, settings, table_of, variants
from streammeta.config.toml import toml_value
from streammeta.errors import Reason
from streammeta.events import Batch, Examples, HalfExamples, Record
from streammeta.models.constants import constants_of
from streammeta.observe.catalogue import CATALOGUE
from streammeta.runtime.blueprint import build_blueprint
from streammeta.state.checkpoint import Checkpoint
from streammeta.state.export import Exported, write
from streammeta.state.progress import Progress
from tests.deploy.expressions import alerts

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
ALGORITHMS = (ROOT / "streammeta/algorithms/README.md").read_text()


def blocks(language: str) -> list[str]:
    """The fenced blocks of that language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_every_setting_is_in_its_table() -> None:
    """No setting is missing from the reference, and none stands there that is gone."""
    text = README[README.index("## Configuration") :] + ALGORITHMS
    rows = set(re.findall(r"^\| `(\w+)`(?: †)? \| ", text, re.MULTILINE))
    nested = [table for setting in settings() if (table := table_of(setting.field))]
    assert rows == {setting.key for setting in settings()} | {
        key for table in nested for key in fields(table)
    }


@pytest.mark.parametrize("section", ["algorithm", "outer"])
def test_each_algorithm_and_optimiser_has_its_table(section: str) -> None:
    """Its keys, in their order, with default, bounds and meaning as the settings say."""
    for name, model in variants(section).items():
        (table,) = re.findall(
            rf'^### `\[{section}\]` with `name = "{name}"`\n(.*?)(?=^### |\Z)', ALGORITHMS, re.M | re.S
        )
        rows = [re.split(r" \| ", line.strip("| ")) for line in re.findall(r"^\| `.*$", table, re.MULTILINE)]
        assert [row[0].split("`")[1] for row in rows] == [*fields(model)]
        for row, field in zip(rows, fields(model).values(), strict=True):
            assert row[2].strip() == allowed(field)
            assert row[3] == field.description
            if field.default_factory is None:
                assert row[1] == ("not set" if field.default is None else f"`{toml_value(field.default)}`")


def test_each_algorithm_is_in_the_overview() -> None:
    """With what it does and what it keeps."""
    overview = README[README.index("## Algorithms") : README.index("### On real data")]
    assert re.findall(r"^\| `(\w+)` \|", overview, re.MULTILINE)
    assert set(re.findall(r"^\| `(\w+)` \|", overview, re.MULTILINE)) == set(variants("algorithm"))


def test_toml_examples_are_valid() -> None:
    """Each TOML block is a configuration."""
    assert len(blocks("toml")) >= 2
    for block in blocks("toml"):
        document = tomllib.loads(block)
        if "sasl_mechanism" in block:  # its password comes from the environment, as the block says
            document["kafka"]["client"]["sasl_plain_password"] = "x"  # noqa: S105 - of nobody
        Config.model_validate(document)


def test_json_example_is_an_event() -> None:
    """The event by example decodes."""
    (block,) = blocks("json")
    event = decode(Record("tasks", 0, 0, 0, b"customer-17", block.encode()), max_bytes=1000)
    assert event.episode.support.x.shape == (2, 1)


def test_examples_by_example_decode() -> None:
    """One, two, and the two halves of one; they suit the model of the settings beside them."""
    (lines,) = blocks("jsonl")
    values = [line.encode() for line in lines.splitlines()]
    one, two, x, y = (
        decode_examples(Record("tasks", 0, 0, 0, b"shop", value), max_bytes=1000) for value in values
    )
    assert isinstance(one, Examples)
    assert isinstance(two, Examples)
    assert [len(batch.x) for batch in (one.examples, two.examples)] == [1, 2]
    assert isinstance(x, HalfExamples)
    assert isinstance(y, HalfExamples)
    assert (x.id, x.part, y.part) == (y.id, "x", "y")
    settings_of_it = next(block for block in blocks("toml") if 'kind = "examples"' in block)
    network = build_blueprint(Config.model_validate(tomllib.loads(settings_of_it))).network
    assert network.module(torch.from_numpy(two.examples.x).float()).shape == two.examples.y.shape


def test_python_example_compiles() -> None:
    """The producer by example is Python."""
    for block in blocks("python"):
        compile(block, "README.md", "exec")


def test_python_examples_make_the_same_event() -> None:
    """What the producers would send decodes, and both forms are the event of the JSON example."""
    (example,) = blocks("json")
    wanted = decode(Record("tasks", 0, 0, 0, b"customer-17", example.encode()), max_bytes=1000)
    values = [block.partition("producer = ")[0] for block in blocks("python") if "value = " in block]
    for code, content_type in zip(values, (b"application/msgpack", b"application/json"), strict=True):
        found: dict[str, bytes] = {}
        exec(code, found)  # noqa: S102 - our own README
        record = Record("tasks", 0, 0, 0, b"customer-17", found["value"], (("content-type", content_type),))
        event = decode(record, max_bytes=1000)
        for one, other in zip(event.episode, wanted.episode, strict=True):
            np.testing.assert_allclose(one.x, other.x)
            np.testing.assert_allclose(one.y, other.y)


def test_the_model_by_example_can_be_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The factory of the text, under the settings of the text."""
    (code,) = [block for block in blocks("python") if "def build" in block]
    (settings_of_it,) = [block for block in blocks("toml") if "my_model:build" in block]
    module = ModuleType("my_model")
    exec(code, vars(module))  # noqa: S102 - our own README
    monkeypatch.setitem(sys.modules, "my_model", module)
    blueprint = build_blueprint(Config.model_validate(tomllib.loads(settings_of_it)))
    assert blueprint.network.dimension == 3 * 40 + 40 + 40 + 1


def test_an_export_is_used_as_the_text_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file of a state of the default model: loaded, adapted by one inner step, asked."""
    (code,) = [block for block in blocks("python") if "export.safetensors" in block]
    blueprint = build_blueprint(Config())
    state = blueprint.learner.init(blueprint.network.initial)
    checkpoint = Checkpoint(blueprint.origin, state, Progress(), {}, {})
    monkeypatch.chdir(tmp_path)
    write(Path("export.safetensors"), Exported(checkpoint, constants_of(blueprint.network.module)))
    found: dict[str, torch.Tensor] = {}
    exec(code, found)  # noqa: S102 - our own README
    adapted = blueprint.learner.adapt(state, Batch(found["x"], found["y"]))
    wanted = blueprint.network.predict(adapted, torch.tensor([[1.2]]))
    assert capsys.readouterr().out.startswith(f"tensor([[{wanted.item():.4f}]]")


def test_the_library_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Learned, asked, saved as the daemon's state."""
    (code,) = [block for block in blocks("python") if "streammeta.Learner(" in block]
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(code, found)  # noqa: S102 - our own README
    assert found["lesson"].events == 1
    assert Learner.load("state").predict("customer-17", found["x"], at="memory").shape == (10, 1)


def test_verbs_exist() -> None:
    """Each `streammeta VERB` of the text is a verb."""
    named = set(re.findall(r"streammeta ([a-z]{3,})\b", README)) - {"daemon"}
    assert named
    assert named <= set(VERBS)


@pytest.mark.parametrize("reason", list(Reason))
def test_reasons_are_told(reason: Reason) -> None:
    """Each reason of the closed list stands in the table of dead letters."""
    assert f"`{reason}`" in README


def test_metrics_are_told() -> None:
    """Each metric of the catalogue, with its type, labels and help text."""
    rows = re.findall(r"^\| `(streammeta_\w+)` \| (.+) \|$", README, re.MULTILINE)
    labels = {spec.name: " {" + ", ".join(spec.labels) + "}" if spec.labels else "" for spec in CATALOGUE}
    assert rows == [(spec.name, f"{spec.kind}{labels[spec.name]}: {spec.help}") for spec in CATALOGUE]


def test_alerts_are_told() -> None:
    """Each alert stands in the table, and no other."""
    table = README[README.index("| alert | fires when |") :].partition("\n\n")[0]
    assert re.findall(r"`(Streammeta\w+)`", table) == [alert["alert"] for alert in alerts()]


def test_links_and_pictures_exist() -> None:
    """Relative links lead somewhere."""
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
