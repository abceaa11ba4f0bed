"""Drawings from files: the reduced .npz, the author's zip, the download, and what is said without them."""

import hashlib
import io
import sys
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from streammeta.datasets import omniglot_data
from streammeta.datasets.omniglot_data import MD5, cache_dir, cached_zip, load_drawings
from streammeta.errors import ConfigError
from streammeta.events import Array


def drawing(seed: int) -> Array:
    """A 105x105 drawing in the author's colours: paper 255, a few thick strokes of ink 0."""
    random = np.random.default_rng(seed)
    image = np.full((105, 105), 255, np.uint8)
    for row, column in random.integers(5, 90, (6, 2)):
        image[row : row + 4, column : column + 30] = 0
        image[row : row + 30, column : column + 5] = 0
    return image


def zip_of(path: Path, root: str = "images_background") -> Path:
    """A zip as the author packs it: two alphabets, three characters, two drawings each."""
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed (extra `omniglot`)")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{root}/.DS_Store", b"junk")
        for number, folder in enumerate(("Latin/character01", "Greek/character02", "Greek/character01")):
            for copy in (2, 1):
                png = io.BytesIO()
                image.fromarray(drawing(10 * number + copy)).convert("1").save(png, "PNG")
                archive.writestr(f"{root}/{folder}/{number:04d}_{copy:02d}.png", png.getvalue())
    return path


def test_zip_is_read_in_order_and_reduced(tmp_path: Path) -> None:
    """Characters by name; a reduced pixel is ink when the mean of its box is below 210."""
    drawings = load_drawings(zip_of(tmp_path / "images_background.zip"), "background")
    assert drawings.alphabets == ("Greek", "Greek", "Latin")
    assert (drawings.images.shape, drawings.images.dtype.name) == ((3, 2, 28, 28), "uint8")
    # Pillow's box: a pixel belongs to the reduced pixel that its centre falls into, on an edge to the lower.
    owner = np.ceil((np.arange(105) + 0.5) / 3.75).astype(int) - 1
    weights = np.eye(28)[owner].T / np.bincount(owner)[:, None]
    for character, number in enumerate((2, 1, 0)):
        for copy in (1, 2):
            mean = weights @ drawing(10 * number + copy) @ weights.T
            decided = np.abs(mean - 210) > 1.5
            ink = drawings.images[character, copy - 1]
            assert np.array_equal(ink[decided], (mean < 210)[decided])
            assert 0 < ink.sum() < 784


def test_npz_is_unpacked_and_split(tmp_path: Path) -> None:
    """Only the split asked for, with pixels and alphabets in their order."""
    pixels = np.random.default_rng(0).integers(0, 2, (3, 20, 784), dtype=np.uint8)
    path = tmp_path / "small.npz"
    split = np.array(["background", "evaluation", "background"])
    np.savez(path, images=np.packbits(pixels, axis=-1), split=split, alphabet=np.array(["A", "B", "C"]))
    drawings = load_drawings(path, "background")
    assert drawings.alphabets == ("A", "C")
    assert np.array_equal(drawings.images.reshape(2, 20, 784), pixels[[0, 2]])
    assert load_drawings(path, "evaluation").alphabets == ("B",)


def test_files_that_will_not_do_are_named(tmp_path: Path) -> None:
    """Missing, foreign, of the other split, or broken: each names the file and what to give instead."""
    foreign = tmp_path / "foreign.npz"
    np.savez(foreign, images=np.zeros((2, 20, 98), np.uint8))
    text = tmp_path / "text.zip"
    text.write_text("not a zip")
    other = zip_of(tmp_path / "images_background.zip")
    broken = tmp_path / "broken.zip"
    broken.write_bytes(other.read_bytes()[:-40])
    for path in (tmp_path / "absent.npz", foreign, text, other, broken, tmp_path):
        with pytest.raises(ConfigError, match=r"images_evaluation\.zip") as caught:
            load_drawings(path, "evaluation")
        assert str(path) in str(caught.value)


def test_pillow_is_asked_for_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Pillow the zip is refused with the extra to install; the .npz does not need it."""
    path = zip_of(tmp_path / "images_background.zip")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ConfigError, match=r"streammeta\[omniglot\]"):
        load_drawings(path, "background")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An HTTP server on the loopback: its address and the folder that it serves."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}", folder
        http.shutdown()
        thread.join()


def test_zip_is_downloaded_once(
    server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first call fetches the file, the second one finds it, also when the server has lost it."""
    url, folder = server
    content = zip_of(folder / "images_background.zip").read_bytes()
    monkeypatch.setitem(MD5, "background", hashlib.md5(content, usedforsecurity=False).hexdigest())
    path = cached_zip("background", tmp_path / "cache" / "deep", url)
    assert path.read_bytes() == content
    (folder / "images_background.zip").unlink()
    assert cached_zip("background", tmp_path / "cache" / "deep", url) == path


def test_a_wrong_download_is_not_kept(server: tuple[str, Path], tmp_path: Path) -> None:
    """A file with another checksum (a login page, half a file) is refused and leaves nothing behind."""
    url, folder = server
    (folder / "images_background.zip").write_text("Please log in")
    with pytest.raises(ConfigError, match=r"checksum.*--data"):
        cached_zip("background", tmp_path / "cache", url)
    assert not list(tmp_path.glob("cache/*"))


def test_no_network_is_told_with_the_remedy(server: tuple[str, Path], tmp_path: Path) -> None:
    """An address that does not serve the file is named, with --data as the way out."""
    url, _ = server
    with pytest.raises(ConfigError, match=r"images_evaluation\.zip cannot be downloaded.*404.*--data"):
        cached_zip("evaluation", tmp_path, url)


def test_without_data_the_cache_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no file named, the zip is taken from the user's cache directory."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache_dir().mkdir()
    zip_of(cache_dir() / "images_background.zip")
    monkeypatch.setattr(omniglot_data, "BASE_URL", "http://127.0.0.1:1")
    assert load_drawings(None, "background").alphabets == ("Greek", "Greek", "Latin")
