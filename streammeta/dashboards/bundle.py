"""The files that show streammeta in Prometheus and Grafana, and how they leave the package.

They are the one copy: `deploy/` mounts them from here, `python -m deploy.grafana` writes the dashboards here.
"""

from collections.abc import Iterator
from pathlib import Path

from streammeta.errors import ConfigError

HERE = Path(__file__).parent
GRAFANA_DASHBOARDS = HERE / "grafana" / "dashboards"
_SUFFIXES = {".json", ".yaml", ".md"}


def files() -> Iterator[Path]:
    """The files of the bundle, relative to its root, in order."""
    found = (path for path in HERE.rglob("*") if path.suffix in _SUFFIXES)
    return (path.relative_to(HERE) for path in sorted(found))


def export(directory: Path, *, force: bool = False) -> list[Path]:
    """Write the bundle into `directory`, which is made if it is missing; the files written.

    A file that is there and the same is left alone.

    Args:
        directory: Where to.
        force: Overwrite files that differ.

    Raises:
        ConfigError: a file differs and `force` is not given (nothing was written), or one cannot be written.
    """
    wanted = {directory / name: (HERE / name).read_bytes() for name in files()}
    try:
        changed = [path for path, content in wanted.items() if not _holds(path, content)]
        differing = [path for path in changed if path.exists()]
        if differing and not force:
            raise ConfigError(
                f"{differing[0]}: exists and differs; overwrite with --force, or name another DIR"
            )
        for path in changed:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(wanted[path])
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be written: {error.strerror}") from error
    return changed


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content
