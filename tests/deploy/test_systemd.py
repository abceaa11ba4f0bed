"""The service unit, by systemd's own verdict."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from streammeta import errors
from streammeta.errors import StreammetaError

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "streammeta.service"


def test_systemd_finds_nothing_to_say(tmp_path: Path) -> None:
    """`systemd-analyze verify`, with a program that is there in place of ours."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze (package systemd) is not installed")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/streammeta/bin/streammeta ", "/bin/true "))
    run = subprocess.run([program, "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    assert [line for line in run.stderr.splitlines() if UNIT.name in line] == []


def test_little_is_exposed() -> None:
    """`systemd-analyze security` gives at most 3 of 10."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze (package systemd) is not installed")
    run = subprocess.run(
        [program, "security", "--offline=true", "--no-pager", UNIT],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unrecognized option" in run.stderr:
        pytest.skip("this systemd-analyze knows no --offline (systemd 250)")
    found = re.search(r"exposure level for \S+: ([0-9.]+)", run.stdout)
    assert found is not None, run.stderr
    assert float(found[1]) <= 3.0


def test_a_restart_is_not_tried_where_it_cannot_help() -> None:
    """Exit codes that prevent one are codes of errors that a person has to mend (and wrong usage, 2)."""
    (codes,) = re.findall(r"^RestartPreventExitStatus=(.+)$", UNIT.read_text(), re.MULTILINE)
    known = {kind.exit_code for kind in vars(errors).values() if _is_error(kind)}
    assert {int(code) for code in codes.split()} - {2} <= known


def _is_error(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, StreammetaError)
