"""What is installed: the library alone, and it works away from the repository."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked as an installer does."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (packed,) = folder.glob("*.whl")
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def installed(
    wheel: Path, *arguments: str, folder: Path, program: tuple[str, ...] = ("-m", "streammeta")
) -> subprocess.CompletedProcess[str]:
    """The command line where the wheel is installed; `-S` leaves out the repository's own .pth file."""
    site = sysconfig.get_paths()
    path = os.pathsep.join([str(wheel), site["purelib"], site["platlib"]])
    env = {name: value for name, value in os.environ.items() if not name.startswith("STREAMMETA_")}
    command = [sys.executable, "-S", *program, *arguments]
    return subprocess.run(
        command, cwd=folder, env=env | {"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )


def files(wheel: Path) -> set[str]:
    """The files in it, with `/` between folders."""
    return {path.relative_to(wheel).as_posix() for path in wheel.rglob("*") if path.is_file()}


def test_one_package_is_installed(wheel: Path) -> None:
    """No general name at the top of site-packages, no pictures of experiments, no tests; typed."""
    inside = files(wheel)
    assert {PurePosixPath(name).parts[0] for name in inside} == {
        "streammeta",
        next(path.name for path in wheel.glob("*.dist-info")),
    }
    assert "streammeta/py.typed" in inside
    assert not {name for name in inside if name.endswith((".png", ".npz", ".parquet")) or "tests/" in name}


def test_what_is_tracked_is_installed(wheel: Path) -> None:
    """Every module, the page and the dashboards."""
    kinds = {".py", ".js", ".css", ".html", ".svg", ".json", ".yaml"}
    here = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "streammeta").rglob("*")
        if path.suffix in kinds and "__pycache__" not in path.parts
    }
    assert here
    assert here <= files(wheel)


def test_every_verb_is_there(wheel: Path, tmp_path: Path) -> None:
    """Each verb of the command line is imported from the wheel, and from nowhere else."""
    program = (
        "import sys, click; from streammeta.cli import VERBS, main; ctx = click.Context(main);"
        "assert all(main.get_command(ctx, verb) for verb in VERBS);"
        "ours = [m for name, m in sys.modules.items() if name.startswith('streammeta')];"
        f"assert all(module.__file__.startswith({str(wheel)!r}) for module in ours), ours;"
        "assert not {'consumers', 'producers', 'tests', 'deploy'} & set(sys.modules)"
    )
    done = installed(wheel, folder=tmp_path, program=("-c", program))
    assert done.returncode == 0, done.stderr


def test_a_users_package_called_consumers_is_found(wheel: Path, tmp_path: Path) -> None:
    """`model.factory = "consumers.my_model:build"` is the user's own module in the working directory."""
    (tmp_path / "consumers").mkdir()
    (tmp_path / "consumers" / "my_model.py").write_text(
        "def build():\n    raise ValueError('this is the user\\'s own')\n"
    )
    done = installed(wheel, "run", "--set", "model.factory=consumers.my_model:build", folder=tmp_path)
    assert done.returncode == 78, done.stderr
    assert "this is the user's own" in done.stderr


@pytest.mark.parametrize(
    ("folder", "shown"), [("consumers", "Usage: streammeta run"), ("producers", "sinusoid")]
)
def test_the_roots_of_a_checkout(wheel: Path, folder: str, shown: str) -> None:
    """`python -m consumers` is the daemon, `python -m producers` what writes streams."""
    done = installed(wheel, "--help", folder=ROOT, program=("-m", folder))
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout
