"""Files that a command writes at its end: refused before minutes of work where they could not be written."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click


class NewFile(click.Path):
    """A file to write, in a folder that is there, with one of the endings; with any, where none is named."""

    def __init__(self, endings: Sequence[str] = ()) -> None:
        super().__init__(dir_okay=False, writable=True, path_type=Path)
        self._endings = endings

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path; refused where its ending or its folder will not do."""
        path = Path(value)
        super().convert(value, param, ctx)
        if self._endings and path.suffix.lower() not in self._endings:
            self.fail(f"{path}: name a file that ends in {' or '.join(self._endings)}", param, ctx)
        if not path.parent.is_dir():
            self.fail(f"{path}: there is no folder {path.parent}; make it, or name another", param, ctx)
        return path


PICTURE: Final = NewFile((".png", ".svg", ".pdf"))
