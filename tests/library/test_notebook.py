"""The notebook of the library's page, run as a notebook is."""

import re
from pathlib import Path

import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

PAGE = Path(__file__).parents[2] / "streammeta/library/README.md"


def test_five_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The learner shows itself, its history is a frame, its plot a picture; a task becomes known."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    cells = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(cells) == 5
    notebook = NotebookNode(
        cells=[
            NotebookNode(
                cell_type="code",
                id=f"c{n}",
                source=cell,
                metadata=NotebookNode(),
                outputs=[],
                execution_count=None,
            )
            for n, cell in enumerate(cells)
        ],
        metadata=NotebookNode(),
        nbformat=4,
        nbformat_minor=5,
    )
    done = NotebookClient(notebook, timeout=500, kernel_name="python3").execute(cwd=str(tmp_path))
    _, shown, frame, plot, errors = (cell["outputs"] for cell in done.cells)
    assert "300" in shown[0]["data"]["text/html"]  # events learned from
    assert "<table" in frame[0]["data"]["text/html"]
    assert any("image/png" in output.get("data", {}) for output in plot)
    told = eval(errors[0]["data"]["text/plain"], {})  # noqa: S307 (a dictionary of numbers, of our own page)
    assert told["adapted"] < told["meta"]
    assert told["memory"] < told["meta"]
