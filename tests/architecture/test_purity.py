"""The middle of the house has no clock, no randomness, no I/O and no log: it decides, and the shell does."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.architecture.tree import imports_any, sources, tree

IMPURE = {
    "asyncio",
    "concurrent",
    "datetime",
    "fcntl",
    "glob",
    "google",
    "grpc",
    "io",
    "logging",
    "mmap",
    "multiprocessing",
    "os",
    "pathlib",
    "random",
    "secrets",
    "select",
    "shutil",
    "signal",
    "socket",
    "sqlite3",
    "subprocess",
    "sys",
    "tempfile",
    "threading",
    "time",
    "uuid",
}
ALLOWED = {
    "modelsyncd/codec/zstd.py": {"threading"},  # a context for each thread
    "modelsyncd/manners.py": {"datetime"},  # times that are handed in: neither of the two asks what time it is
    "modelsyncd/schedule.py": {"datetime"},
}
_CALLS = {"open", "print", "input", "exec", "eval", "compile", "__import__"}
PURE = [
    name
    for name in sources("modelsyncd")
    if name.count("/") == 1
    or name.startswith(("modelsyncd/session/", "modelsyncd/codec/", "modelsyncd/formats/", "modelsyncd/matching/"))
]


@pytest.mark.parametrize("name", PURE)
def test_a_pure_file_imports_nothing_that_acts(name: str) -> None:
    assert imports_any(name, IMPURE) - ALLOWED.get(name, set()) == set()


@pytest.mark.parametrize("name", PURE)
def test_a_pure_file_calls_nothing_that_acts(name: str) -> None:
    called = {
        node.func.id for node in ast.walk(tree(name)) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert called & _CALLS == set()


def test_no_zstd_context_is_shared_by_living_in_a_module() -> None:
    """python-zstandard's objects may not be used by two threads: issues 166 and 244 there."""
    shared = [
        f"{name}:{call.lineno}"
        for name in sources()
        for call in _run_at_import(tree(name))
        if _called(call).startswith("Zstd")
    ]
    assert not shared


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import zstandard\nC = zstandard.ZstdCompressor()", 1),
        ("class A:\n    c = ZstdDecompressor()", 1),
        ("def f(c=ZstdCompressor()):\n    return c", 1),
        ("def f():\n    return ZstdCompressor()", 0),
        ("class A:\n    def __init__(self):\n        self.c = ZstdCompressor()", 0),
    ],
)
def test_the_search_for_shared_contexts_sees_what_runs_at_import(source: str, found: int) -> None:
    assert sum(_called(call).startswith("Zstd") for call in _run_at_import(ast.parse(source))) == found


def _run_at_import(node: ast.AST) -> Iterator[ast.Call]:
    """The calls that importing runs: all but those in bodies of functions."""
    if isinstance(node, ast.Call):
        yield node
    inside: list[ast.AST] = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        inside = [node.args, *node.decorator_list]
    elif isinstance(node, ast.Lambda):
        inside = [node.args]
    for child in inside:
        yield from _run_at_import(child)


def _called(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""
