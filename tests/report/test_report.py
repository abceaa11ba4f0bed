"""`streammeta report`: one page that needs nothing, one picture, and refusals in words."""

import re
import shutil
import struct
from datetime import UTC, datetime
from pathlib import Path

import pytest

from streammeta.config import Config
from streammeta.config.show import document
from streammeta.evaluation.prequential import Prequential, Scores
from streammeta.observe.history import History
from streammeta.observe.history_file import pack as pack_history
from streammeta.observe.machine import machine
from streammeta.outcomes import Expired
from streammeta.report.page import bundle, report_data
from streammeta.report.picture import run_picture
from streammeta.report.run import Run, read_run
from streammeta.state.checkpoint import pack
from streammeta.state.directory import StateDirectory
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.progress import Progress
from streammeta.state.store import Meta
from streammeta.web.app import STATIC
from tests.cli.conftest import Invoke, streammeta
from tests.observe.outcomes import Clock, learned, refused, turned
from tests.states import checkpoint_of, make_state, row_of
from tests.web.browser import chromium, opened

ODD = "</script><script>alert(1)</script>"
EVENTS = 500

__all__ = ["streammeta"]


def history() -> bytes:
    """The curves of 500 events, one dead letter among them, and the notes of their run."""
    clock = Clock()
    kept, means = History(clock), Prequential()
    for number in range(1, EVENTS + 1):
        clock.seconds += 0.1
        loss = 4.0 / (1 + number / 40)
        means = means.fold(2 * loss, loss, loss / 2, 0.1)
        kept(
            learned(
                events=number,
                loss_meta=2 * loss,
                loss_adapted=loss,
                loss_memory=loss / 2,
                prequential=means,
            )
        )
        if number % 10 == 0:
            kept(turned())
    kept(refused())
    return pack_history(kept, {"settings": document(Config()), "machine": machine()})


def meta(curves: bytes) -> Meta:
    """A checkpoint after those events."""
    means = Prequential().fold(2.0, 1.0, 0.5, 0.1)
    packed = pack(checkpoint_of(EVENTS, progress=Progress(EVENTS, means)))
    return Meta(packed.tensors, packed.document, curves)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory with curves and three tasks, one of them with a name that would end a script."""
    directory = tmp_path_factory.mktemp("state") / "run <1>"
    with StateDirectory(directory) as made:
        store = LmdbStore(made.lmdb_path)
        rows = {
            "a": row_of(1, loss_adapted=2.0),
            "b": row_of(2, loss_adapted=9.0, events=44),
            ODD: row_of(3, loss_adapted=5.0),
        }
        store.commit(meta(history()), rows)
        store.close()
    return directory


@pytest.fixture
def run() -> Run:
    """The same as a value."""
    return read_run("r", checkpoint_of(EVENTS), history(), [("a", row_of(1, loss_adapted=2.0).stats)], 1)


def test_a_page_that_needs_nothing(streammeta: Invoke, state: Path, tmp_path: Path) -> None:
    """Chromium shows curves, tasks, settings and machine from the file alone; nothing of the stream runs."""
    pytest.importorskip("playwright", reason="playwright is not installed")
    output = tmp_path / "report.html"
    done = streammeta("report", state, "--output", output)
    assert done.exit_code == 0, done.output
    assert "500 events, 3 tasks" in done.stderr
    with chromium() as browser, opened(browser, output.as_uri()) as watched:
        watched.shows("#state", "report")
        watched.shows("[data-tile=events] b", "500")
        watched.shows("[data-tile=letters] b", "2")
        watched.shows("#tasks tbody tr:first-child", "b")
        watched.page.click("#tasks th button:text-is('Events')")
        watched.shows("#tasks tbody tr:first-child", "44")
        watched.page.fill("#tasks input", "script")
        watched.shows("#tasks tbody tr:only-child", ODD)
        watched.page.click("#tasks tbody a")
        watched.shows("#task h1", ODD)
        watched.page.click("#task .back")
        watched.shows("#settings dt", "checkpoint_seconds")
        watched.shows("#facts dd", str(machine()["platform"]))
        with watched.page.expect_download() as download:
            watched.page.locator("[data-chart=loss] .files button").last.dispatch_event("click")
        lines = Path(download.value.path()).read_text().splitlines()
        assert lines[0].startswith('"events"')
        assert len(lines) == EVENTS + 1


def test_two_runs_over_one_another(streammeta: Invoke, state: Path, tmp_path: Path) -> None:
    """Both losses in one chart by the names of their directories, as a page and as a picture."""
    pytest.importorskip("playwright", reason="playwright is not installed")
    other = tmp_path / "after"
    shutil.copytree(state, other)
    page, picture = tmp_path / "both.html", tmp_path / "both.png"
    done = streammeta("report", state, other, "--output", page)
    assert done.exit_code == 0, done.output
    assert done.stderr.count("500 events, 3 tasks") == 2
    with chromium() as browser, opened(browser, page.as_uri()) as watched:
        watched.shows("#beside h2", "Runs beside one another")
        watched.shows("[data-chart=beside-adapted] .readings", "after")
        assert watched.page.locator("#beside-table tbody tr").count() == 2
        with watched.page.expect_download() as download:
            watched.page.locator("[data-chart=beside-memory] .files button").last.dispatch_event("click")
        head, *lines = Path(download.value.path()).read_text().splitlines()
        assert head == '"events","run <1>","after"'
        assert len(lines) > 100
        for line in lines:
            _, one, two = line.split(",")
            assert one == two
    assert streammeta("report", state, other, "--output", picture).exit_code == 0
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    twice = streammeta("report", state, state, "--output", page)
    assert twice.exit_code == 0
    assert f"2: {state}" in page.read_text().replace("\\u003c", "<")


def test_nothing_is_loaded_from_elsewhere(streammeta: Invoke, state: Path, tmp_path: Path) -> None:
    """No address in the file but names of formats and of the chart library; its policy forbids the rest."""
    output = tmp_path / "report.html"
    assert streammeta("report", state, "--output", output).exit_code == 0
    text = output.read_text()
    assert set(re.findall(r"https?://[^\s\"']+", text)) <= {
        "http://www.w3.org/2000/svg",
        "https://github.com/leeoniya/uPlot",
    }
    assert "default-src 'none'" in text
    assert not re.search(r'<(?:script|img|link)[^>]+(?:src|href)="(?!data:)', text)
    assert "<title>run &lt;1&gt; · streammeta</title>" in text


def test_every_module_is_in_the_bundle() -> None:
    """And in an order in which each finds what it imports."""
    code = bundle("main.js")
    places = {file.name: code.index(f'modules["{file.name}"] = ') for file in (STATIC / "js").iterdir()}
    for name, place in places.items():
        part = code[place:].split("\nreturn {")[0]
        for needed in re.findall(r'= modules\["(.+)"\];', part):
            assert places[needed] < place, (name, needed)
    assert not re.search(r"^(import|export) ", code, re.MULTILINE)


def test_a_picture(streammeta: Invoke, state: Path, tmp_path: Path) -> None:
    """A PNG, wide enough for a slide."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra plot)")
    output = tmp_path / "report.png"
    done = streammeta("report", state, "--output", output)
    assert done.exit_code == 0, done.output
    data = output.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert struct.unpack(">II", data[16:24]) == (1800, 1125)


def test_numbers_are_those_of_the_state(run: Run) -> None:
    """Counts, losses at first and now, rate, rates, refused records."""
    data = report_data(run, datetime(2026, 1, 2, tzinfo=UTC))
    status = data["status"]
    assert (status["events"], status["tasks"]["stored"]) == (EVENTS, 1)
    assert status["learning_rates"] == {"inner": 0.1, "meta": 0.2}
    assert status["events_per_second"] == pytest.approx(10, rel=0.05)
    first = sum(4.0 / (1 + number / 40) for number in range(1, 51)) / 50
    assert status["losses"]["adapted"]["first"] == pytest.approx(first, rel=1e-5)
    assert status["outcomes"]["dead_letter"] == 2
    assert report_data(run, datetime(2026, 1, 2, tzinfo=UTC))["facts"]["report"]["made"].startswith(
        "2026-01-02"
    )


def test_a_classifier() -> None:
    """Accuracies, windows and dropped examples are told; the picture has a panel more."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra plot)")
    clock = Clock()
    kept, means = History(clock), Prequential().fold(2.0, 1.0, 0.5, 0.1, Scores(0.25, 0.5, 0.75))
    kept(learned(prequential=means))
    kept(Expired("t", tasks=2, halves=3))
    packed = pack_history(kept, {"settings": document(Config()), "machine": machine()})
    run = read_run("r", checkpoint_of(1, progress=Progress(1, means)), packed, [], 0)
    status = report_data(run, datetime(2026, 1, 2, tzinfo=UTC))["status"]
    assert status["accuracies"]["adapted"] == {"now": 0.5, "window": 0.5}
    assert status["losses"]["memory"]["window"] == 0.5
    assert status["examples_dropped"] == {"expired": 2, "unmatched": 3}
    figure = run_picture(run, datetime(2026, 1, 2, tzinfo=UTC))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert "Prequential accuracy, fading mean" in titles
    assert (figure.get_figwidth(), figure.get_figheight()) == (12, 10)


def test_a_state_without_curves(streammeta: Invoke, tmp_path: Path) -> None:
    """One of an earlier version: its tasks and settings are shown all the same, in both forms."""
    directory = make_state(tmp_path / "old")
    for name in ("report.html", "report.png"):
        done = streammeta("report", directory, "--output", tmp_path / name)
        assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["{state}", "--output", "x.txt"], 2, "name a file that ends in .html or .png or .svg or .pdf"),
        (["{state}", "--output", "{state}/none/x.html"], 2, "there is no folder"),
        (["{empty}", "--output", "x.html"], 65, "there is no state here"),
        (["{recording}", "--output", "x.html"], 65, "is a recording"),
        (["{damaged}", "--output", "x.html"], 65, "its curves cannot be read"),
    ],
)
def test_refusals(
    arguments: list[str], code: int, said: str, streammeta: Invoke, state: Path, tmp_path: Path
) -> None:
    """In words, with the exit codes of the contract."""
    folders = {name: tmp_path / name for name in ("empty", "recording", "damaged")}
    folders["recording"].mkdir()
    (folders["recording"] / "manifest.json").write_text("{}")
    with StateDirectory(folders["damaged"]) as made:
        store = LmdbStore(made.lmdb_path)
        store.commit(meta(b"not a history"), {})
        store.close()
    done = streammeta("report", *(each.format(state=state, **folders) for each in arguments))
    assert done.exit_code == code, done.output
    assert said in done.output
