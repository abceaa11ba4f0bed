"""Omniglot's drawings from a file: a reduced `.npz`, or the author's zip of PNG files, downloaded if need be.

Every failure is a `ConfigError` that says what to do.
"""

import hashlib
import io
import os
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path, PurePosixPath

import numpy as np

from streammeta.datasets.omniglot import Drawings, Split
from streammeta.errors import ConfigError
from streammeta.events import Array

BASE_URL = "https://github.com/brendenlake/omniglot/raw/master/python"
MD5 = {"background": "68d2efa1b9178cc56df9314c21c6e718", "evaluation": "6b91aef0f799c5bb55b94e3f2daec811"}
"""Of the author's zips, as torchvision checks them too."""
SIDE = 28
"""Pixels of a reduced drawing's side; the originals have 105."""
INK_BELOW = 210
"""A reduced pixel is ink when the mean of its box is below this; paper is 255."""
_TIMEOUT_SECONDS = 30.0


def load_drawings(path: Path | None, split: Split) -> Drawings:
    """The characters of `split` in the file, or in the author's zip from the cache, else from the network.

    An `.npz` holds `images` uint8 (characters, drawings, 98), each drawing packed by `numpy.packbits`, and
    per character `split` and `alphabet`. Reading a zip takes some seconds and needs Pillow.

    Raises:
        ConfigError: no such file, not such a file, no such split in it, no network, no Pillow.
    """
    source = cached_zip(split, cache_dir()) if path is None else path
    try:
        with zipfile.ZipFile(source) as archive:
            packed = "images.npy" in archive.namelist()
            return _from_npz(source, split) if packed else _from_zip(archive, split)
    except FileNotFoundError as error:
        raise ConfigError(
            f"--data {source}: no such file; name an omniglot .npz or images_{split}.zip, or leave --data "
            "out to download the zip"
        ) from error
    except (OSError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ConfigError(
            f"--data {source}: cannot be read ({error}); name an omniglot .npz or images_{split}.zip"
        ) from error


def cache_dir() -> Path:
    """Where downloads are kept: `$XDG_CACHE_HOME/streammeta`, else `~/.cache/streammeta`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streammeta"


def cached_zip(split: Split, directory: Path, base_url: str = BASE_URL) -> Path:
    """The author's zip of `split` in `directory`, downloaded whole (some 10 MB) if it is not there.

    Raises:
        ConfigError: it cannot be fetched, or is not the author's file.
    """
    name = f"images_{split}.zip"
    path, url = directory / name, f"{base_url}/{name}"
    if path.exists():
        return path
    try:
        _put(path, _fetched(url, MD5[split]))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{url} cannot be downloaded to {path} ({error}); fetch it by other means and name it with --data"
        ) from error
    return path


def _fetched(url: str, md5: str) -> bytes:
    with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310 - BASE_URL is https
        content: bytes = response.read()
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise ValueError("its checksum is not that of the author's file")
    return content


def _put(path: Path, content: bytes) -> None:
    """Write whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_bytes(content)
    part.replace(path)


def _from_npz(path: Path, split: Split) -> Drawings:
    with np.load(path, allow_pickle=False) as data:
        chosen = data["split"] == split
        images = np.unpackbits(data["images"][chosen], axis=-1)
        alphabets = tuple(str(name) for name in data["alphabet"][chosen])
    if not alphabets:
        raise ValueError(f"it has no character of split {split!r}")
    return Drawings(images.reshape(*images.shape[:2], SIDE, SIDE), alphabets)


def _from_zip(archive: zipfile.ZipFile, split: Split) -> Drawings:
    root = f"images_{split}"
    names = [PurePosixPath(name) for name in archive.namelist() if name.endswith(".png")]
    chosen = sorted(name for name in names if len(name.parts) == 4 and name.parts[0] == root)
    if not chosen:
        raise ValueError(f"it has no {root}/alphabet/character/*.png")
    characters = [
        (folder.parent.name, [_reduced(archive.read(str(name))) for name in drawings])
        for folder, drawings in _by_folder(chosen)
    ]
    return Drawings(np.array([images for _, images in characters]), tuple(name for name, _ in characters))


def _by_folder(names: list[PurePosixPath]) -> Iterator[tuple[PurePosixPath, list[PurePosixPath]]]:
    for folder, group in groupby(names, key=lambda name: name.parent):
        yield folder, list(group)


def _reduced(png: bytes) -> Array:
    """The drawing reduced with a box filter to 28x28, ink = 1."""
    try:
        from PIL import Image  # needed for the zip alone
    except ImportError as error:
        raise ConfigError(
            "PNG files need Pillow; install it: pip install 'streammeta[omniglot]', or give --data an .npz"
        ) from error
    with Image.open(io.BytesIO(png)) as image:
        small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    return (np.asarray(small) < INK_BELOW).astype(np.uint8)
