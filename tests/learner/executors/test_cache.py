"""What lies on disk is loaded only if it is this user's and whole."""

import os
from pathlib import Path

import pytest

from streammeta.errors import ConfigError
from streammeta.learner.executors import cache as module
from streammeta.learner.executors.cache import Cache, default_directory

CONDITIONS = {
    "shapes": "",
    "form": "small",
    "compiler": "g++ 12",
    "torch": "2",
    "processor": "p",
    "threads": 1,
}
ABOUT = {"key": "k", "conditions": CONDITIONS, "microseconds": {"small": 2.0}, "seconds": 1.0}


def put(cache: Cache, name: str, tmp_path: Path, content: bytes = b"code", **about: object) -> None:
    """Keep a library of these bytes."""
    built = tmp_path / "built.so"
    built.write_bytes(content)
    cache.put(built, name, {**ABOUT, **about})


def test_the_directory_is_for_this_user_alone(tmp_path: Path) -> None:
    """Made with mode 0700, below directories that may be missing."""
    cache = Cache(tmp_path / "a" / "b")
    assert cache.directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_directory_that_others_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    """What lies there is run as code."""
    tmp_path.chmod(mode)
    with pytest.raises(ConfigError, match=r"engine\.cache_dir"):
        Cache(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_what_belongs_to_another_user_is_not_loaded(tmp_path: Path) -> None:
    """Neither a directory nor a library in one's own directory."""
    cache = Cache(tmp_path / "mine")
    put(cache, "ab", tmp_path)
    assert cache.get("ab") is not None
    os.chown(cache.directory / "ab.so", 12345, 12345)
    assert cache.get("ab") is None
    assert cache.find("k") is None
    os.chown(cache.directory, 12345, 12345)
    with pytest.raises(ConfigError, match="uid 12345"):
        Cache(cache.directory)


@pytest.mark.parametrize("name", ["../other/ab", "{tmp}/other/ab", "./ab", "ab/../ab", "AB", ""])
def test_a_name_leads_nowhere_else(name: str, tmp_path: Path) -> None:
    """A forged state, which names the library that it brings along, runs no code."""
    cache, other = Cache(tmp_path / "mine"), Cache(tmp_path / "other")
    put(cache, "ab", tmp_path)
    put(other, "ab", tmp_path)
    assert cache.get("ab") is not None
    assert cache.get(name.format(tmp=tmp_path)) is None


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """A link could lead to a file that someone else replaces."""
    cache = Cache(tmp_path / "mine")
    put(cache, "ab", tmp_path)
    library = cache.directory / "ab.so"
    library.rename(tmp_path / "elsewhere.so")
    library.symlink_to(tmp_path / "elsewhere.so")
    assert cache.get("ab") is None


@pytest.mark.parametrize("suffix", [".so", ".json"])
@pytest.mark.parametrize("damage", [b"", b"{}", b"xxxx", b"[1]", None])
def test_damage_is_found(tmp_path: Path, suffix: str, damage: bytes | None) -> None:
    """A library or a description that is empty, other, or missing counts as absent; put again, it serves."""
    cache = Cache(tmp_path / "mine")
    put(cache, "ab", tmp_path)
    path = cache.directory / f"ab{suffix}"
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    assert cache.get("ab") is None
    assert cache.find("k") is None
    put(cache, "ab", tmp_path)
    assert cache.get("ab") is not None


def test_the_fastest_of_a_key_is_found(tmp_path: Path) -> None:
    """Several libraries of one key: the one that was measured to be the fastest; another key is another."""
    cache = Cache(tmp_path / "mine")
    put(cache, "aa", tmp_path, microseconds={"small": 3.0})
    put(cache, "bb", tmp_path, microseconds={"small": 1.0})
    put(cache, "cc", tmp_path, key="other", microseconds={"small": 0.5})
    found = cache.find("k")
    assert found is not None
    assert found.name == "bb"
    assert cache.find("none") is None


def test_the_cache_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library used longest ago goes, its description with it."""
    monkeypatch.setattr(module, "MAX_LIBRARIES", 2)
    cache = Cache(tmp_path / "mine")
    for age, name in ((300, "aa"), (200, "bb")):
        put(cache, name, tmp_path)
        at = cache.directory.stat().st_mtime - age
        os.utime(cache.directory / f"{name}.so", (at, at))
    put(cache, "cc", tmp_path)
    assert sorted(path.name for path in cache.directory.iterdir()) == ["bb.json", "bb.so", "cc.json", "cc.so"]


def test_where_it_lies_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Below XDG_CACHE_HOME where that is an absolute path, else below the home directory."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_directory() == tmp_path / "streammeta"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_directory() == tmp_path / "home" / ".cache" / "streammeta"
