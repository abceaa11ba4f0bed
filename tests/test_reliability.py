"""`RELIABILITY.md` names tests: each of them exists, so that a promise cannot lose its proof unnoticed."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "streammeta" / "RELIABILITY.md").read_text()
NAMED = re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)


def test_each_named_test_exists() -> None:
    """A function of that name, in that file."""
    assert len(set(NAMED)) > 40
    for path, name in NAMED:
        functions = [
            node.name
            for node in ast.walk(ast.parse((TESTS / path).read_text()))
            if isinstance(node, ast.FunctionDef)
        ]
        assert name in functions, f"{path}::{name}"


def test_windows_are_numbered_without_a_gap() -> None:
    """So that a number in a message or a commit means one place in the code."""
    for section in ("Promises", "Crash windows"):
        (text,) = re.findall(rf"## {section}\n(.*?)\n## ", PAGE, re.DOTALL)
        numbers = [int(number) for number in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)]
        assert numbers == [*range(1, len(numbers) + 1)]
        assert len(numbers) >= 15
