"""The list of failpoints, the code that passes them and the document that explains them say the same."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator

from modelsyncd.store.failpoints import Point
from tests.architecture.tree import ROOT, sources, tree

_ROW = re.compile(r"^\| `([a-z-]+)` \| (.+) \| \[`([^`]+)`\]\(\.\./\3\) \|$", re.MULTILINE)


def passed() -> Iterator[tuple[str, str]]:
    """Every call of `passing`: the point's name, and the file."""
    for name in sources():
        for node in ast.walk(tree(name)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "passing":
                (point,) = node.args
                assert isinstance(point, ast.Attribute), f"{name}:{node.lineno} passes something computed"
                yield point.attr, name


def test_every_point_is_passed_at_exactly_one_place() -> None:
    assert Counter(point for point, _ in passed()) == Counter(dict.fromkeys(Point.__members__, 1))


def test_there_are_enough_points_and_each_has_a_sentence_of_its_own() -> None:
    assert len(Point) >= 40
    assert len(Point) == len(Point.__members__), "two points have the same sentence"


def test_the_document_has_every_point_in_order_with_its_sentence_and_its_file() -> None:
    files = dict(passed())
    rows = _ROW.findall((ROOT / "docs/durability.md").read_text(encoding="utf-8"))
    assert rows == [(point.word, point.value, files[point.name]) for point in Point]
