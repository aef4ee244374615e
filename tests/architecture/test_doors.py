"""Each outside library has one door, and each dangerous call one place."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.architecture.tree import ROOT, imports_any, sources, tree

DOORS = {
    "google.protobuf": ("modelsyncd/wire/",),
    "cryptography": ("modelsyncd/trust/",),
    "sqlalchemy": ("cloud_hub/catalog/",),
    "sqlite3": ("modelsyncd/store/cache.py", "modelsyncd/store/extract.py", "cloud_hub/catalog/"),
    "sqlite_utils": ("modelsyncd/store/cache.py",),
    "obstore": ("modelsyncd/store/blobs.py",),
    "zstandard": ("modelsyncd/codec/",),
    "numba": ("modelsyncd/codec/compiled/jit.py", "modelsyncd/daemon/loops.py"),
    "blake3": ("modelsyncd/digest.py",),
    "xxhash": ("modelsyncd/digest.py",),
    "hashlib": ("modelsyncd/digest.py",),
    "pyfastcdc": ("modelsyncd/chunker.py",),
    "click": ("modelsyncd/ctl/",),
    "rich": ("modelsyncd/ctl/",),
    "ctypes": ("modelsyncd/link/malloc.py",),
    "grpc": (
        "modelsyncd/link/",
        "modelsyncd/wire/status.py",
        "modelsyncd/client/",
        "modelsyncd/ctl/",
        "modelsyncd/exchange/",
        "modelsyncd/daemon/health.py",
        "cloud_hub/app.py",
        "cloud_hub/gate.py",  # who may call what stands before every call
        "edge_agent/app.py",
    ),
    # Reading what came from outside with these runs it.
    "pickle": (),
    "marshal": (),
    "shelve": (),
}
SCREEN = "modelsyncd/ctl/screen.py"
RENAMING = "modelsyncd/store/durable.py"
_OS_RENAMES = {"rename", "renames", "replace"}


@pytest.mark.parametrize("library", sorted(DOORS))
def test_a_library_is_imported_behind_its_door_only(library: str) -> None:
    doors = DOORS[library]
    strangers = [name for name in sources() if not _is_behind(name, library, doors) and imports_any(name, {library})]
    assert not strangers


def _is_behind(name: str, library: str, doors: tuple[str, ...]) -> bool:
    return name.startswith(doors) or (library == "grpc" and name.endswith("_api.py"))


def test_only_the_screen_writes_for_people_who_use_modelsyncctl() -> None:
    """What others wrote is made harmless there; the bar of `progress` is rich's own."""
    ours = [name for name in sources() if name.startswith("modelsyncd/ctl/")]
    assert {name for name in ours if any(_writes(name))} == {SCREEN}


def _writes(name: str) -> Iterator[ast.Attribute]:
    """click's ways to print and to colour, and writing to one of the two streams; ruff sees to `print`."""
    for node in ast.walk(tree(name)):
        if not isinstance(node, ast.Attribute):
            continue
        is_click = isinstance(node.value, ast.Name) and node.value.id == "click"
        is_stream = isinstance(node.value, ast.Attribute) and node.value.attr in {"stdout", "stderr"}
        if (is_click and node.attr in {"echo", "secho", "style", "clear", "echo_via_pager"}) or (
            is_stream and node.attr in {"write", "writelines", "buffer"}
        ):
            yield node


def test_only_durable_renames() -> None:
    assert [place for name in sources() if name != RENAMING for place in _renames(name)] == []


def test_the_search_for_renames_finds_them_all_where_they_are_meant_to_be() -> None:
    assert list(_renames(RENAMING))


def _renames(name: str) -> Iterator[str]:
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_rename(node, node.func):
            yield f"{name}:{node.lineno}"


def _is_rename(call: ast.Call, function: ast.Attribute) -> bool:
    """os.rename and its kin, shutil.move, and Path's; str.replace has two arguments, dataclasses.replace has names."""
    owner = function.value.id if isinstance(function.value, ast.Name) else ""
    if owner == "os":
        return function.attr in _OS_RENAMES
    if owner == "shutil":
        return function.attr == "move"
    is_pathlike = len(call.args) == 1 and not call.keywords
    return function.attr in {"rename", "replace"} and is_pathlike


def test_every_task_has_an_owner() -> None:
    """TaskGroup.create_task only: a task that nobody awaits swallows its errors."""
    bare = {"create_task", "gather", "ensure_future", "run_coroutine_threadsafe"}
    found = [
        f"{name}:{node.lineno}"
        for name in sources()
        for node in ast.walk(tree(name))
        if isinstance(node, ast.Attribute)
        and node.attr in bare
        and isinstance(node.value, ast.Name)
        and node.value.id in {"asyncio", "loop"}
    ]
    assert not found


def test_nothing_reads_the_environment_but_config() -> None:
    found = [
        f"{name}:{node.lineno}"
        for name in sources()
        if name.startswith(("modelsyncd/store/", "modelsyncd/trust/", "modelsyncd/wire/", "modelsyncd/link/"))
        for node in ast.walk(tree(name))
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
    ]
    assert not found


@pytest.mark.slow
def test_the_arrows_between_rooms_go_down_only() -> None:
    linted = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-cache",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert linted.returncode == 0, linted.stdout[-4000:] + linted.stderr[-2000:]
    assert "0 broken" in linted.stdout
