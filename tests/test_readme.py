"""The front page and the pages beside the code stay true: settings, verbs, metrics, examples, links."""

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
from streammeta.config import Config, docs
from streammeta.config.fields import settings, variants
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
PAGES = [ROOT / "README.md", *sorted((ROOT / "streammeta").rglob("*.md")), ROOT / "deploy/README.md"]


def page(room: str) -> str:
    """The page of a room."""
    return (ROOT / "streammeta" / room / "README.md").read_text()


def blocks(language: str, *rooms: str) -> list[str]:
    """The fenced blocks of that language on the front page, or on those of the rooms."""
    text = "\n".join(map(page, rooms)) if rooms else README
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_settings_are_the_page_that_the_command_writes() -> None:
    """After a change of a setting: streammeta config docs > streammeta/config/README.md."""
    assert page("config") == docs.page()
    rows = set(re.findall(r"^\| `(\w+)`(?: †)? \| ", docs.page(), re.MULTILINE))
    assert rows >= {setting.key for setting in settings()}


def test_the_front_page_is_one_page() -> None:
    """Six to eight kilobytes: what it is, two commands, an event, a model, a prediction, where to go on."""
    assert 6_000 <= len(README.encode()) <= 8_000


def test_each_algorithm_is_in_the_overview() -> None:
    """With what it does and what it keeps."""
    overview = page("algorithms").partition("# Sources and updates")[2]
    assert re.findall(r"^\| `(\w+)` \|", overview, re.MULTILINE)
    assert set(re.findall(r"^\| `(\w+)` \|", overview, re.MULTILINE)) == set(variants("algorithm"))


def test_toml_examples_are_valid() -> None:
    """Each TOML block is a configuration."""
    found = [
        block for path in PAGES for block in re.findall(r"```toml\n(.*?)```", path.read_text(), re.DOTALL)
    ]
    assert len(found) >= 7
    for block in found:
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
    (lines,) = blocks("jsonl", "codec")
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
    settings_of_it = next(block for block in blocks("toml", "codec") if 'kind = "examples"' in block)
    network = build_blueprint(Config.model_validate(tomllib.loads(settings_of_it))).network
    assert network.module(torch.from_numpy(two.examples.x).float()).shape == two.examples.y.shape


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_python_examples_compile(path: Path) -> None:
    """Each is Python."""
    for block in re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL):
        compile(block, str(path), "exec")


def test_python_examples_make_the_same_event() -> None:
    """What the producers would send decodes, and both forms are the event of the JSON example."""
    (example,) = blocks("json")
    assert example in page("codec")
    wanted = decode(Record("tasks", 0, 0, 0, b"customer-17", example.encode()), max_bytes=1000)
    values = [block.partition("producer = ")[0] for block in blocks("python", "codec") if "value = " in block]
    for code, content_type in zip(values, (b"application/msgpack", b"application/json"), strict=True):
        found: dict[str, bytes] = {}
        exec(code, found)  # noqa: S102 - our own README
        record = Record("tasks", 0, 0, 0, b"customer-17", found["value"], (("content-type", content_type),))
        event = decode(record, max_bytes=1000)
        for one, other in zip(event.episode, wanted.episode, strict=True):
            np.testing.assert_allclose(one.x, other.x)
            np.testing.assert_allclose(one.y, other.y)


def test_the_model_by_example_can_be_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The factory of the text, under the settings of the text, from the events of the text."""
    (code,) = [block for block in blocks("python") if "def build" in block]
    (settings_of_it,) = [block for block in blocks("toml") if "my_model:build" in block]
    module = ModuleType("my_model")
    exec(code, vars(module))  # noqa: S102 - our own README
    monkeypatch.setitem(sys.modules, "my_model", module)
    blueprint = build_blueprint(Config.model_validate(tomllib.loads(settings_of_it)))
    assert blueprint.network.dimension == 1 * 40 + 40 + 40 + 1
    sent = re.search(r"echo 'customer-17\|(.*)'", README)
    assert sent is not None
    for value in (*blocks("json"), sent[1]):
        event = decode(Record("tasks", 0, 0, 0, b"customer-17", value.encode()), max_bytes=1000)
        for part in event.episode:
            predicted = blueprint.network.predict(
                blueprint.network.initial, torch.as_tensor(part.x, dtype=torch.float32)
            )
            assert predicted.shape == part.y.shape


def test_an_export_is_used_as_the_text_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file of a state of the default model: loaded, adapted by one inner step, asked."""
    (code,) = [block for block in blocks("python", "state") if "export.safetensors" in block]
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


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_verbs_exist(path: Path) -> None:
    """Each `streammeta VERB` at the start of a line of code is a verb."""
    named = set(re.findall(r"(?:^    |`)streammeta ([a-z]{3,})\b", path.read_text(), re.MULTILINE))
    assert named <= set(VERBS)


@pytest.mark.parametrize("reason", list(Reason))
def test_reasons_are_told(reason: Reason) -> None:
    """Each reason of the closed list stands in the table of dead letters."""
    assert f"`{reason}`" in page("codec")


def test_metrics_are_told() -> None:
    """Each metric of the catalogue, with its type, labels and help text."""
    rows = re.findall(r"^\| `(streammeta_\w+)` \| (.+) \|$", page("observe"), re.MULTILINE)
    labels = {spec.name: " {" + ", ".join(spec.labels) + "}" if spec.labels else "" for spec in CATALOGUE}
    assert rows == [(spec.name, f"{spec.kind}{labels[spec.name]}: {spec.help}") for spec in CATALOGUE]


def test_alerts_are_told() -> None:
    """Each alert stands in the table, and no other."""
    table = page("observe").partition("| alert | fires when |")[2].partition("\n\n")[0]
    assert re.findall(r"`(Streammeta\w+)`", table) == [alert["alert"] for alert in alerts()]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_pictures_exist(path: Path) -> None:
    """Relative links lead somewhere."""
    for target in re.findall(r"\]\((?!http)([^)#]+)(?:#[^)]*)?\)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_every_page_is_reached() -> None:
    """From the front page, over links."""
    reached, ahead = set[Path](), [ROOT / "README.md"]
    while ahead:
        path = ahead.pop().resolve()
        if path in reached or path.suffix != ".md":
            continue
        reached.add(path)
        ahead += [path.parent / target for target in re.findall(r"\]\((?!http)([^)#]+)", path.read_text())]
    assert {path.resolve() for path in PAGES} <= reached
