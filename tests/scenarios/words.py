"""The rules of docs/protocol.md, so that a test can quote one and fail when the page no longer says it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
_RULE = re.compile(r"^(\d+)\. (.*(?:\n {3,}\S.*)*)", re.MULTILINE)


@cache
def rules() -> dict[int, str]:
    """Each numbered rule on one line, by its number."""
    page = (ROOT / "docs" / "protocol.md").read_text()
    return {int(number): " ".join(text.split()) for number, text in _RULE.findall(page)}


def quote(number: int, sentence: str) -> None:
    """Raises AssertionError unless this rule says this, word for word."""
    assert number in rules(), f"docs/protocol.md has no rule {number}"
    assert sentence in rules()[number], f"rule {number} says now: {rules()[number]}"


def quoted() -> Iterator[tuple[int, str]]:
    """Every quotation in the tests of this folder, found by reading them."""
    for path in sorted(Path(__file__).parent.glob("test_protocol_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                yield from _quotations(node)


def _quotations(test: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(test):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "quote":
            number, sentence = (ast.literal_eval(argument) for argument in node.args)
            yield number, sentence
