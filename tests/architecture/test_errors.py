"""Errors have their names in one place: a code that two classes share could become either of them behind the wire."""

from __future__ import annotations

import importlib
import pkgutil
from importlib.util import find_spec

import cloud_hub
import edge_agent
import modelsyncd
from modelsyncd.errors import ModelsyncError

COMPILED_LOOPS = "modelsyncd.codec.compiled."
"""Made of numba, which is not everywhere."""


def everything() -> list[type[ModelsyncError]]:
    found: list[type[ModelsyncError]] = []
    pending = [ModelsyncError]
    while pending:
        found.append(pending.pop())
        pending += found[-1].__subclasses__()
    return found


def test_every_error_is_named_in_errors_and_has_a_code_of_its_own() -> None:
    for package in (modelsyncd, edge_agent, cloud_hub):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if "__main__" not in module.name and not (COMPILED_LOOPS in module.name and find_spec("numba") is None):
                importlib.import_module(module.name)
    classes = everything()
    assert len(classes) > 20
    assert [one.__qualname__ for one in classes if one.__module__ != "modelsyncd.errors"] == []
    codes = [one.code for one in classes]
    assert sorted(codes) == sorted(set(codes))
