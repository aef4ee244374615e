"""One noun per file, short, and named for what it holds."""

from __future__ import annotations

import ast
import re

import pytest

from tests.architecture.tree import ROOT, sources, tree

LINES = 400
BANNED = {"core", "common", "utils", "util", "helpers", "helper", "manager", "misc", "base"}
FRAGMENT = re.compile(r"(Enhancement|Bugfix|Change): \S.{0,90}\n\n\S[\s\S]*\n")


def test_no_file_has_400_lines() -> None:
    long = {name: lines for name in sources(*_FOLDERS) if (lines := _lines(name)) >= LINES}
    assert not long, "split these by noun"


def test_no_file_or_folder_has_a_name_that_means_anything() -> None:
    found = [name for name in sources(*_FOLDERS) if BANNED & set(name.removesuffix(".py").split("/"))]
    assert not found, "name these by their noun"


def test_every_module_says_in_one_sentence_what_it_is_for() -> None:
    silent = [name for name in sources(*_FOLDERS) if not _opens_with_a_sentence(name)]
    assert not silent


def test_every_package_is_typed() -> None:
    assert all((ROOT / package / "py.typed").exists() for package in ("modelsyncd", "edge_agent", "cloud_hub"))


@pytest.mark.parametrize("path", sorted((ROOT / "docs/changelog/unreleased").glob("*")), ids=lambda path: path.name)
def test_a_changelog_fragment_has_a_kind_an_effect_and_a_story(path) -> None:  # type: ignore[no-untyped-def]
    assert path.suffix == ".md"
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+){1,4}", path.stem)
    assert FRAGMENT.fullmatch(path.read_text(encoding="utf-8")), "see docs/changelog/TEMPLATE.md"


_FOLDERS = ("modelsyncd", "edge_agent", "cloud_hub", "tests", "benchmarks")


def _lines(name: str) -> int:
    return (ROOT / name).read_text(encoding="utf-8").count("\n")


def _opens_with_a_sentence(name: str) -> bool:
    docstring = ast.get_docstring(tree(name))
    return docstring is not None and docstring.split("\n\n")[0].rstrip().endswith((".", ":"))
