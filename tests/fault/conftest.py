"""For fault tests: a bound on their time, and a line for each failure that makes exactly it happen again."""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.fault.reach import FULL, SECONDS

HERE = Path(__file__).parent
_began: dict[Path, float] = {}
_files: set[Path] = set()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    _files.update(item.path for item in items if item.path.parent == HERE)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Each file has an equal share of the time; what does not fit into it is skipped."""
    if not SECONDS or item.path.parent != HERE:
        return
    began = _began.setdefault(item.path, time.monotonic())
    if time.monotonic() - began > SECONDS / len(_files):
        pytest.skip("the time for this file is over (MODELSYNCD_FAULTS_SECONDS)")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and item.path.parent == HERE:
        seed = os.environ.get("MODELSYNCD_SEED")
        words = [*(["MODELSYNCD_FAULTS=full"] if FULL else []), *([f"MODELSYNCD_SEED={seed}"] if seed else [])]
        report.sections.append(("again", " ".join([*words, f"python -m pytest '{item.nodeid}'"])))
    return report
