"""Runs a whole test module twice: by numpy's loops, and by compiled ones where numba is installed.

    from tests.fakes.coding_loops import loops  # noqa: F401

in a test module is all that it takes. Loops are compiled once for a machine, into the user's cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec

import pytest

from modelsyncd.codec import native
from modelsyncd.daemon.loops import Workshop, kept_folder, may_run_what_was_written

COMPILED = find_spec("numba") is not None
WITHOUT = pytest.mark.skipif(
    not (COMPILED and may_run_what_was_written()),
    reason="numba is not installed (pip install 'modelsyncd[fast]'), or may make no code here",
)


@pytest.fixture(scope="module", autouse=True, params=["numpy", pytest.param("compiled", marks=WITHOUT)])
def loops(request: pytest.FixtureRequest) -> Iterator[str]:
    """By which loops the module's tests run."""
    name: str = request.param
    with using(compiled=name == "compiled"):
        yield name


class using:  # noqa: N801 - reads as a phrase
    """While it lasts, this process codes by these loops."""

    def __init__(self, *, compiled: bool) -> None:
        self._compiled = compiled

    def __enter__(self) -> None:
        if self._compiled:
            assert _loaded(), "numba is installed, but the loops can't be compiled"
        native.use(compiled=self._compiled)

    def __exit__(self, *_: object) -> None:
        native.use(compiled=False)


@cache
def _loaded() -> bool:
    return Workshop(kept_folder()).wait()
