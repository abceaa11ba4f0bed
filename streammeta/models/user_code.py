"""Where in the user's files an error arose: what a message about a model or a loss should point at."""

import sysconfig
import traceback
from pathlib import Path
from typing import Final

import numpy as np
import torch

_PATHS: Final = sysconfig.get_paths()
_THIRD_PARTY: Final = (Path(_PATHS["purelib"]), Path(_PATHS["platlib"]))
_LIBRARIES: Final = (Path(torch.__file__).parent, Path(np.__file__).parent, Path(_PATHS["stdlib"]))
_PACKAGE: Final = Path(__file__).parents[1]


def where(error: BaseException) -> str:
    """The user's line that led to the error: "file.py, line 12, in forward"; "" where none did.

    It is the innermost frame of the traceback that is in neither torch, NumPy, the standard library nor
    this program.
    """
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith("<") and not _is_library(Path(frame.filename)):
            return f"{Path(frame.filename).name}, line {frame.lineno}, in {frame.name}"
    return ""


def _is_library(file: Path) -> bool:
    if any(file.is_relative_to(folder) for folder in (_PACKAGE, *_LIBRARIES[:2])):
        return True
    # The folder of installed packages lies inside that of the standard library.
    installed = any(file.is_relative_to(folder) for folder in _THIRD_PARTY)
    return not installed and file.is_relative_to(_LIBRARIES[2])
