"""What experiments return, and how it is drawn."""

import builtins
from pathlib import Path
from typing import Any

import pytest

from streammeta.errors import ConfigError
from streammeta.reproduce.plot import require_matplotlib, save_plot
from streammeta.reproduce.report import Curve, Measured, Panel, Report, Row


def report() -> Report:
    """Two methods, one of which is published."""
    rows = [Row("a", "K = 1", (Measured(1.3, 0.1),), Measured(1.0, 0.2)), Row("b", "K = 1", (Measured(2.0),))]
    curves = [Curve("a", [1, 10], [1.0, 2.0], [0.1, 0.1]), Curve("b", [1, 10], [float("inf"), 3.0])]
    return Report("toy", "A toy", ("error",), "sd", rows, [Panel("left", "x", "y", curves, "log", "log")] * 2)


def test_deviations_are_in_published_standard_deviations() -> None:
    """Signed; none where nothing is published."""
    assert [row.deviations for row in report().rows] == [1.5, None]


def test_a_plot_is_a_png(tmp_path: Path) -> None:
    """Wide enough for its panels, and not empty."""
    path = tmp_path / "toy.png"
    save_plot(report(), path)
    image = path.read_bytes()
    assert image.startswith(b"\x89PNG")
    width, height = (int.from_bytes(image[at : at + 4], "big") for at in (16, 20))
    assert width > 2 * height
    assert len(image) > 10_000


def test_a_plot_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """With the option to change."""
    with pytest.raises(ConfigError, match=r"--plot .*nowhere"):
        save_plot(report(), tmp_path / "nowhere" / "toy.png")


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any work is done."""
    real = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"pip install 'streammeta\[reproduce\]'"):
        require_matplotlib()
