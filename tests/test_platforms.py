"""What is different on other systems than Linux."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def forgets_the_encoding(call: ast.Call) -> bool:
    """Whether the call reads or writes text in the encoding of the system."""
    keywords = {keyword.arg for keyword in call.keywords}
    modes = {each.value for each in call.args if isinstance(each, ast.Constant)}
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    if name in ("read_text", "write_text"):
        is_text = len(call.args) <= (name == "write_text")
    elif name in ("open", "run", "Popen"):
        is_text = bool(modes & {"r", "w", "a"} or keywords & {"text", "newline"})
    else:
        is_text = ast.unparse(call.func) == "open" and not modes & {"rb", "wb", "ab"}
    return is_text and "encoding" not in keywords


@pytest.mark.parametrize("package", ["imagesim", "demo_shop"])
def test_files_are_read_and_written_in_a_named_encoding(package: str) -> None:
    """The default on Windows is that of the country, such as cp1252."""
    for path in (ROOT / package).rglob("*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
        found = [f"{path.name}:{call.lineno} {ast.unparse(call)}" for call in calls if forgets_the_encoding(call)]
        assert not found
