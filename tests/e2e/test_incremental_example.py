"""The example of incremental learning tells its whole story: with what stands in for Sedna's library, and with that."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.architecture.tree import ROOT

LIBRARY = "MODELSYNCD_SEDNA_LIB"
"""Folders with Sedna's library and what it needs, as PYTHONPATH has them: `lib` of a checkout, and site-packages."""


def tell(**environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "docs.examples.incremental"],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
        cwd=ROOT,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def check(story: str) -> None:
    for line in (
        "plant/helmets:2 precision_delta +",
        "by the rule: metrics.precision >= current.precision + 0.01 [precision of :2 = ",
        "never stopped serving, loaded model.2-",
        "the hub has it as active",
        "plant/helmets:3 precision_delta -",
        "the node went back, and it loaded model.2-",
        "serve of default/helmet-detection could not load it",
    ):
        assert line in story


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_example_works() -> None:
    check(tell())


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(LIBRARY not in os.environ, reason=f"{LIBRARY} names no checkout of Sedna")
def test_the_example_works_with_sednas_own_library() -> None:
    folders = os.environ[LIBRARY]
    found = subprocess.run(
        [sys.executable, "-c", "import docs.examples.incremental.worker as w; print(w.IncrementalLearning.__module__)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": folders},
    )
    assert found.stdout.startswith("sedna.")
    check(tell(PYTHONPATH=folders))
