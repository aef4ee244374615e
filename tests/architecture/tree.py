"""The only place that walks our own source: what there is to check, and its syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("modelsyncd", "edge_agent", "cloud_hub")
GENERATED = "modelsyncd/wire/v1/"


def sources(*folders: str) -> list[str]:
    """Python files that people wrote, as paths from the root with /, in these folders or in all packages."""
    found = (path for folder in folders or PACKAGES for path in (ROOT / folder).rglob("*.py"))
    names = sorted(path.relative_to(ROOT).as_posix() for path in found)
    return [name for name in names if not name.startswith(GENERATED) and "/node_modules/" not in name]


@cache
def tree(name: str) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse((ROOT / name).read_text(encoding="utf-8"), name)


def imported(name: str) -> Iterator[str]:
    """Full names of the modules that a file imports, at its top or inside; for `from a import b` both a and a.b."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports_any(name: str, modules: set[str]) -> set[str]:
    """Those of the modules that a file imports, whole or in part."""
    return {
        module for module in modules for found in imported(name) if found == module or found.startswith(f"{module}.")
    }
